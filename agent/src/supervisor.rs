//! What the service manager is told (sd_notify(3)): that the agent is ready, works, stops. One datagram each to the socket that
//! systemd names in the environment; written here because the protocol is a line of text and a crate for it would be one more
//! to trust. Elsewhere there is no such socket, and nothing is told.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// The variable that names the socket.
#[cfg(unix)]
const SOCKET_VARIABLE: &str = "NOTIFY_SOCKET";
/// The variable that holds after how many microseconds without a word the agent counts as hung.
const WATCHDOG_VARIABLE: &str = "WATCHDOG_USEC";
/// The variable that holds whose watchdog it is, where it holds anything.
const WATCHDOG_PROCESS_VARIABLE: &str = "WATCHDOG_PID";
/// Longest status line, characters.
const STATUS_CHARACTERS_MAX: usize = 200;

/// The way to the service manager. Telling it never waits and never fails: whether anybody listens is no matter of the agent's.
#[derive(Debug, Default)]
pub struct Supervisor {
    #[cfg(unix)]
    socket: Option<std::os::unix::net::UnixDatagram>,
    watchdog: Option<Duration>,
    status: Mutex<String>,
}

impl Supervisor {
    /// What the environment of this process says, which `read` reads.
    pub fn from_environment(read: impl Fn(&str) -> Option<String>) -> Self {
        let mine = read(WATCHDOG_PROCESS_VARIABLE).is_none_or(|id| id == std::process::id().to_string());
        let watchdog = read(WATCHDOG_VARIABLE).filter(|_| mine).and_then(|text| text.parse().ok());
        let watchdog = watchdog.filter(|micros| *micros > 0).map(Duration::from_micros);
        Self {
            #[cfg(unix)]
            socket: read(SOCKET_VARIABLE).and_then(|name| connect(&name)),
            watchdog,
            status: Mutex::default(),
        }
    }

    /// How often at least [`Supervisor::alive`] must be called: twice in the time after which the agent counts as hung.
    pub fn alive_every(&self) -> Option<Duration> {
        self.watchdog.map(|watchdog| watchdog / 2)
    }

    /// The agent has opened everything it needs and begins.
    pub fn ready(&self) {
        self.tell("READY=1");
    }

    /// The loop that does the work has come round once more. `status` is for `systemctl status`.
    pub fn alive(&self, status: &str) {
        let status: String = status.chars().filter(|c| !c.is_control()).take(STATUS_CHARACTERS_MAX).collect();
        let mut before = self.status.lock().unwrap_or_else(PoisonError::into_inner);
        if *before != status && self.tell(&format!("STATUS={status}")) {
            *before = status;
        }
        if self.watchdog.is_some() {
            self.tell("WATCHDOG=1");
        }
    }

    /// The agent ends by itself.
    pub fn stopping(&self) {
        self.tell("STOPPING=1");
    }

    /// Whether the manager has it.
    #[cfg(unix)]
    fn tell(&self, what: &str) -> bool {
        let Some(socket) = &self.socket else { return false };
        let told = socket.send(what.as_bytes());
        if let Err(error) = &told {
            tracing::debug!(%error, what, "The service manager was not told.");
        }
        told.is_ok()
    }

    #[cfg(not(unix))]
    fn tell(&self, _what: &str) -> bool {
        false
    }
}

#[cfg(unix)]
fn connect(name: &str) -> Option<std::os::unix::net::UnixDatagram> {
    use std::os::unix::net::{SocketAddr, UnixDatagram};
    let address = match name.strip_prefix('@') {
        Some(name) => abstract_address(name),
        None if name.starts_with('/') => SocketAddr::from_pathname(name),
        // A VM's host, say: no socket this agent can tell anything.
        None => return None,
    };
    let connected = address.and_then(|address| {
        let socket = UnixDatagram::unbound()?;
        socket.connect_addr(&address)?;
        // A manager that does not read must not hold up the work.
        socket.set_nonblocking(true)?;
        Ok(socket)
    });
    connected.inspect_err(|error| tracing::warn!(%error, "The service manager's socket cannot be used.")).ok()
}

#[cfg(target_os = "linux")]
fn abstract_address(name: &str) -> std::io::Result<std::os::unix::net::SocketAddr> {
    use std::os::linux::net::SocketAddrExt as _;
    std::os::unix::net::SocketAddr::from_abstract_name(name)
}

#[cfg(all(unix, not(target_os = "linux")))]
fn abstract_address(_name: &str) -> std::io::Result<std::os::unix::net::SocketAddr> {
    Err(std::io::ErrorKind::Unsupported.into())
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use std::os::linux::net::SocketAddrExt as _;
    use std::os::unix::net::{SocketAddr, UnixDatagram};
    use std::time::Duration;

    use super::Supervisor;

    fn environment(pairs: Vec<(&'static str, String)>) -> impl Fn(&str) -> Option<String> {
        move |name| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| value.clone())
    }

    fn told(socket: &UnixDatagram) -> Vec<String> {
        socket.set_nonblocking(true).unwrap();
        let mut all = Vec::new();
        let mut bytes = [0; 4096];
        while let Ok(length) = socket.recv(&mut bytes) {
            all.push(String::from_utf8(bytes[..length].to_vec()).unwrap());
        }
        all
    }

    #[test]
    fn a_socket_by_path_or_by_abstract_name_is_told_everything() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let name = format!("tallystick-test-{}", std::process::id());
        let abstract_name = SocketAddr::from_abstract_name(&name).unwrap();
        for (socket, named) in [
            (UnixDatagram::bind(&path).unwrap(), path.display().to_string()),
            (UnixDatagram::bind_addr(&abstract_name).unwrap(), format!("@{name}")),
        ] {
            let supervisor = Supervisor::from_environment(environment(vec![
                ("NOTIFY_SOCKET", named),
                ("WATCHDOG_USEC", "30000000".into()),
                ("WATCHDOG_PID", std::process::id().to_string()),
            ]));
            assert_eq!(supervisor.alive_every(), Some(Duration::from_secs(15)));
            supervisor.ready();
            supervisor.alive("one\nline");
            supervisor.alive("oneline");
            supervisor.alive(&"x".repeat(1000));
            supervisor.stopping();
            let long = format!("STATUS={}", "x".repeat(200));
            let expected =
                ["READY=1", "STATUS=oneline", "WATCHDOG=1", "WATCHDOG=1", &long, "WATCHDOG=1", "STOPPING=1"];
            assert_eq!(told(&socket), expected);
        }
    }

    #[test]
    fn without_a_manager_or_with_a_dead_one_nothing_happens() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gone");
        let gone = UnixDatagram::bind(&path).unwrap();
        let supervisor =
            Supervisor::from_environment(environment(vec![("NOTIFY_SOCKET", path.display().to_string())]));
        assert_eq!(supervisor.alive_every(), None, "no watchdog is asked for");
        supervisor.alive("well");
        assert_eq!(told(&gone), ["STATUS=well"]);
        drop(gone);
        supervisor.ready();
        for name in ["vsock:2:1234", "relative", "", "/nonexistent/socket", "@"] {
            Supervisor::from_environment(environment(vec![("NOTIFY_SOCKET", name.into())])).ready();
        }
        // A manager whose queue is full is not waited for.
        let path = folder.path().join("full");
        let _deaf = UnixDatagram::bind(&path).unwrap();
        let supervisor =
            Supervisor::from_environment(environment(vec![("NOTIFY_SOCKET", path.display().to_string())]));
        for _ in 0..10_000 {
            supervisor.ready();
        }
    }

    #[test]
    fn the_watchdog_of_another_process_is_not_ours() {
        for (micros, process, expected) in
            [("1000000", "1", None), ("0", "", None), ("soon", "", None), ("-1", "", None)]
        {
            let mut pairs = vec![("WATCHDOG_USEC", micros.to_owned())];
            if !process.is_empty() {
                pairs.push(("WATCHDOG_PID", process.to_owned()));
            }
            assert_eq!(Supervisor::from_environment(environment(pairs)).alive_every(), expected, "{micros}");
        }
    }
}
