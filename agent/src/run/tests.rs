//! The loops beside what the exchange tests show: the service manager's watchdog, and what ends a wait.

use std::os::unix::net::UnixDatagram;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex as StdMutex, mpsc};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::clock::SystemClock;
use crate::device::Device;
use crate::exchange_tests::{LONG, World, look};
use crate::run::{Agent, Look};
use crate::spool::Limits;
use crate::supervisor::Supervisor;

/// A socket as a service manager has it, and who tells it that a watchdog of so many microseconds is set.
fn manager(folder: &std::path::Path, watchdog: &str) -> (UnixDatagram, Supervisor) {
    let path = folder.join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_nonblocking(true).unwrap();
    let supervisor = Supervisor::from_environment(|name| match name {
        "NOTIFY_SOCKET" => Some(path.display().to_string()),
        "WATCHDOG_USEC" => Some(watchdog.to_owned()),
        _ => None,
    });
    (socket, supervisor)
}

fn turns(socket: &UnixDatagram) -> usize {
    let mut bytes = [0; 1024];
    let mut count = 0;
    while let Ok(length) = socket.recv(&mut bytes) {
        count += usize::from(bytes[..length] == *b"WATCHDOG=1");
    }
    count
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_look_that_hangs_keeps_the_watchdog_from_being_told() {
    let world = World::enrolled().await;
    let (socket, supervisor) = manager(world.folder.path(), "200000");
    let (release, hangs) = mpsc::channel::<()>();
    let hangs = StdMutex::new(hangs);
    let hanging: Look = Arc::new(move || {
        // The first look waits until it is let go; later ones find nobody to wait for.
        let _let_go = hangs.lock().unwrap().recv();
        look()()
    });
    let cancel = CancellationToken::new();
    let device = Device::open(&world.state(), Limits::default()).unwrap();
    let agent = Agent::new(device, hanging, Arc::new(SystemClock), cancel.clone()).supervised_by(supervisor);
    let running = tokio::spawn(async move { agent.run(360).await.unwrap() });
    tokio::time::sleep(Duration::from_secs(3)).await;
    // Once before the look; 28 more turns would have been due since.
    assert_eq!(turns(&socket), 1);
    drop(release);
    tokio::time::timeout(LONG, async {
        let mut all = 0;
        while all < 10 {
            tokio::time::sleep(Duration::from_millis(20)).await;
            all += turns(&socket);
        }
    })
    .await
    .unwrap();
    cancel.cancel();
    tokio::time::timeout(LONG, running).await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_network_ends_the_wait_before_the_next_connection() {
    let world = World::enrolled().await;
    // A collector that hangs up at once.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let tries = Arc::new(AtomicU32::new(0));
    tokio::spawn({
        let tries = Arc::clone(&tries);
        async move {
            while let Ok((tcp, _)) = listener.accept().await {
                tries.fetch_add(1, Ordering::SeqCst);
                drop(tcp);
            }
        }
    });
    let cancel = CancellationToken::new();
    let mut device = Device::open(&world.state(), Limits::default()).unwrap();
    device.identity.stored.agents_address = address;
    let agent = Agent::new(device, look(), Arc::new(SystemClock), cancel.clone());
    let uploader = agent.uploader();
    let moved = Arc::clone(&uploader.moved);
    let running = tokio::spawn(async move { uploader.run().await });
    let at_least = |count: u32| {
        let tries = Arc::clone(&tries);
        async move {
            let wait = async {
                while tries.load(Ordering::SeqCst) < count {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            };
            tokio::time::timeout(LONG, wait).await.unwrap();
        }
    };
    let begun = std::time::Instant::now();
    for count in 1..=30 {
        at_least(count).await;
        moved.notify_one();
    }
    // Thirty tries by themselves take a second each at the least.
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    cancel.cancel();
    tokio::time::timeout(LONG, running).await.unwrap().unwrap();
}
