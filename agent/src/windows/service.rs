//! The agent as a service: started and stopped by the service manager of Windows.

use std::{
    ffi::OsString,
    fs::{self, OpenOptions},
    io::Write,
    path::Path,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};

use anyhow::Context as _;
use clap::{Args, Parser as _, Subcommand};
use tokio_util::sync::CancellationToken;
use windows_service::{
    Error,
    service::{
        ServiceAccess, ServiceControl, ServiceControlAccept, ServiceErrorControl, ServiceExitCode,
        ServiceInfo, ServiceStartType, ServiceState, ServiceStatus, ServiceType,
    },
    service_control_handler::{self, ServiceControlHandlerResult, ServiceStatusHandle},
    service_dispatcher,
    service_manager::{ServiceManager, ServiceManagerAccess},
};

use crate::{
    cli::{Cli, DONE},
    state::StateDirectory,
};

/// Name of the service.
const NAME: &str = "tallystick-agent";
/// How it is shown to people.
const DISPLAY_NAME: &str = "Tallystick agent";
const DESCRIPTION: &str = "Observes this device and reports signed evidence.";
/// The log of the service, in the state directory: it has no console.
const LOG: &str = "service.log";
/// The log of the runs before.
const OLD_LOG: &str = "service.log.old";
/// A log that is longer at a start makes room, in bytes: a year of an agent that works.
const LOG_BYTES_MAX: u64 = 1024 * 1024;
/// How long the manager is asked to wait for a start or stop; `run` waits 20 s for the statement that is being made.
const WAIT_HINT: Duration = Duration::from_secs(25);
/// `ERROR_SERVICE_SPECIFIC_ERROR` comes with this when the agent could not run; the log says why.
const COULD_NOT_RUN: u32 = 1;
/// What the manager says when no service of the name is there (`ERROR_SERVICE_DOES_NOT_EXIST`).
const NO_SUCH_SERVICE: i32 = 1060;

/// Run as a service of Windows, or add or remove it.
#[derive(Debug, Args)]
pub(crate) struct ServiceArgs {
    #[command(subcommand)]
    act: Act,
}

#[derive(Debug, Clone, Copy, Subcommand)]
enum Act {
    /// Add the service, which starts with the machine and runs as the system. Takes an administrator.
    Install,
    /// Remove it; what the agent keeps stays. Takes an administrator.
    Uninstall,
    /// What the service manager starts. Its log is `service.log` in the state directory.
    Run,
}

impl ServiceArgs {
    /// Does what was asked; `cli` is the whole command line.
    pub(crate) fn run(&self, cli: &Cli, state: &StateDirectory, out: &mut dyn Write) -> anyhow::Result<u8> {
        match self.act {
            Act::Install => {
                install(cli.given())?;
                writeln!(out, "service {NAME} added: start it with `sc start {NAME}`")?;
            }
            Act::Uninstall => {
                uninstall()?;
                writeln!(out, "service {NAME} removed")?;
            }
            Act::Run => {
                log_to_file(state)?;
                service_dispatcher::start(NAME, service_main)
                    .context("only the service manager starts this: use `sc start tallystick-agent`")?;
            }
        }
        Ok(DONE)
    }
}

/// Adds the service with the options of this command line.
fn install(options: Vec<OsString>) -> anyhow::Result<()> {
    let manager = ServiceManager::local_computer(
        None::<&str>,
        ServiceManagerAccess::CONNECT | ServiceManagerAccess::CREATE_SERVICE,
    )
    .context("the service manager refuses: run this as an administrator")?;
    let info = ServiceInfo {
        name: NAME.into(),
        display_name: DISPLAY_NAME.into(),
        service_type: ServiceType::OWN_PROCESS,
        start_type: ServiceStartType::AutoStart,
        error_control: ServiceErrorControl::Normal,
        executable_path: std::env::current_exe().context("cannot find this program")?,
        launch_arguments: options.into_iter().chain(["service".into(), "run".into()]).collect(),
        dependencies: Vec::new(),
        // The system itself: BitLocker tells nobody else.
        account_name: None,
        account_password: None,
    };
    let service =
        manager.create_service(&info, ServiceAccess::CHANGE_CONFIG).context("the service cannot be added")?;
    service.set_description(DESCRIPTION).context("the service has no description")
}

fn uninstall() -> anyhow::Result<()> {
    let manager = ServiceManager::local_computer(None::<&str>, ServiceManagerAccess::CONNECT)
        .context("the service manager cannot be reached")?;
    let service = match manager.open_service(NAME, ServiceAccess::DELETE | ServiceAccess::STOP) {
        Ok(service) => service,
        Err(Error::Winapi(error)) if error.raw_os_error() == Some(NO_SUCH_SERVICE) => {
            anyhow::bail!("there is no service {NAME}")
        }
        Err(error) => {
            return Err(error).context("the service cannot be removed: run this as an administrator");
        }
    };
    // One that does not run cannot be stopped.
    let _not_running = service.stop();
    service.delete().context("the service cannot be removed")
}

/// Called by the service manager on a thread of its own. Its arguments are of `sc start` and mean nothing here.
extern "system" fn service_main(_count: u32, _arguments: *mut *mut u16) {
    if let Err(error) = serve() {
        tracing::error!("The service cannot run: {error:#}");
    }
}

fn serve() -> anyhow::Result<()> {
    let cli = Cli::try_parse()?;
    let state = StateDirectory::new(cli.state());
    let cancel = CancellationToken::new();
    let told: Arc<OnceLock<ServiceStatusHandle>> = Arc::default();
    let (stopped, teller) = (cancel.clone(), Arc::clone(&told));
    let status = service_control_handler::register(NAME, move |control| match control {
        ServiceControl::Interrogate => ServiceControlHandlerResult::NoError,
        ServiceControl::Stop | ServiceControl::Shutdown => {
            stopped.cancel();
            if let Some(status) = teller.get() {
                tell(*status, ServiceState::StopPending, ServiceExitCode::Win32(0));
            }
            ServiceControlHandlerResult::NoError
        }
        _ => ServiceControlHandlerResult::NotImplemented,
    })?;
    // Set once, here.
    let _first = told.set(status);
    tell(status, ServiceState::Running, ServiceExitCode::Win32(0));
    let ended = cli.daemon(&state, move || Ok(async move { cancel.cancelled().await }));
    let code = match &ended {
        Ok(_) => ServiceExitCode::Win32(0),
        Err(error) => {
            tracing::error!("The agent cannot run: {error:#}");
            ServiceExitCode::ServiceSpecific(COULD_NOT_RUN)
        }
    };
    tell(status, ServiceState::Stopped, code);
    Ok(())
}

fn tell(handle: ServiceStatusHandle, state: ServiceState, exit_code: ServiceExitCode) {
    let running = state == ServiceState::Running;
    let told = handle.set_service_status(ServiceStatus {
        service_type: ServiceType::OWN_PROCESS,
        current_state: state,
        controls_accepted: if running {
            ServiceControlAccept::STOP | ServiceControlAccept::SHUTDOWN
        } else {
            ServiceControlAccept::empty()
        },
        exit_code,
        checkpoint: 0,
        wait_hint: if state == ServiceState::StopPending { WAIT_HINT } else { Duration::ZERO },
        process_id: None,
    });
    if let Err(error) = told {
        tracing::error!(%error, "The service manager does not take the state.");
    }
}

/// Writes the log to a file from here on.
fn log_to_file(state: &StateDirectory) -> anyhow::Result<()> {
    let path = state.file(LOG);
    make_room(&path, &state.file(OLD_LOG));
    let file = OpenOptions::new()
        .create(true)
        .append(true)
        .open(&path)
        .with_context(|| format!("cannot write {}", path.display()))?;
    let file = Arc::new(Mutex::new(file));
    crate::cli::log_to(move || Line(Arc::clone(&file)));
    Ok(())
}

fn make_room(log: &Path, old: &Path) {
    if fs::metadata(log).is_ok_and(|found| found.len() > LOG_BYTES_MAX) {
        // A log that cannot be renamed goes on.
        let _kept = fs::rename(log, old);
    }
}

/// The log, for one line.
struct Line(Arc<Mutex<fs::File>>);

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
