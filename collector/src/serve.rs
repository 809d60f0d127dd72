//! `serve`: the listeners, their refresh, and an orderly stop.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use certs::{Population, SystemClock as TlsClock};
use rpc::v1::admin_server::AdminServer;
use rpc::v1::enrolment_server::EnrolmentServer;
use rpc::v1::ingest_server::IngestServer;
use rpc::v1::people_server::PeopleServer;
use rustls::ServerConfig;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::watch;
use tokio_stream::wrappers::UnixListenerStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::enrolling::Enrolling;
use crate::gate::Gate;
use crate::housekeeping::Keeper;
use crate::http2::{
    self, AGENT_MESSAGE_BYTES_MAX, Clients, ENROL_MESSAGE_BYTES_MAX, PERSON_MESSAGE_BYTES_MAX,
};
use crate::listen::{Audience, Limits, listen, listen_denying};
use crate::node::Node;
use crate::quota::Quotas;
use crate::reload;
use crate::roles::Listener;
use crate::service::access::AccessBook;
use crate::service::admin::AdminService;
use crate::service::enrol::EnrolService;
use crate::service::ingest::IngestService;
use crate::service::people::PeopleService;
use crate::service::renew::Renewals;
use crate::service::residency;
use crate::service::unstored::Unstored;
use crate::silence;
use crate::state::random;
use crate::tree;
use crate::turned_away::TurnedAway;
use crate::witnesses::{self, Surroundings};

/// How often certificates and revocation lists are made anew: a list holds for a day.
const REFRESH_INTERVAL: Duration = Duration::from_hours(1);
/// How long open calls may take to end at a stop.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(20);
/// Open files assumed when the limit cannot be read.
const OPEN_FILES_ASSUMED: u64 = 1_024;

/// The TLS configurations the listeners use from now on. One that could not be made leaves the one before: its revocation
/// list ends within a day, and its listener then refuses everybody, but no other listener does.
struct Configurations {
    enrol: anyhow::Result<Arc<ServerConfig>>,
    agents: anyhow::Result<Arc<ServerConfig>>,
    people: anyhow::Result<Arc<ServerConfig>>,
    tiles: anyhow::Result<Arc<ServerConfig>>,
}

/// Gives a listener its next configuration, if it was made.
fn put(
    name: &str,
    listener: &watch::Sender<Arc<ServerConfig>>,
    fresh: anyhow::Result<Arc<ServerConfig>>,
) -> bool {
    match fresh {
        Ok(fresh) => {
            drop(listener.send_replace(fresh));
            true
        }
        Err(error) => {
            tracing::error!(listener = name, error = %format!("{error:#}"), "Certificates could not be refreshed.");
            false
        }
    }
}

fn configurations(node: &Node) -> anyhow::Result<Configurations> {
    let authorities = node.state.book().authority.roster().authorities().clone();
    node.identities.follow(&authorities)?;
    node.identities.warn_of_ends(node.state.clock.now());
    let clock: certs::Clock = Arc::new(TlsClock(Arc::clone(&node.state.clock)));
    let serial = random().context("no random bytes")?;
    let identity = node.identities.server(&node.config.server_names, node.state.clock.now(), serial)?;
    let mutual = |population| -> anyhow::Result<Arc<ServerConfig>> {
        let trusted = node.identities.trusted(population, node.state.clock.as_ref(), &node.denylist)?;
        Ok(certs::mutual_listener(&identity, &trusted, Arc::clone(&clock))?)
    };
    Ok(Configurations {
        enrol: certs::open_listener(&identity, Arc::clone(&clock)).map_err(Into::into),
        agents: mutual(Population::Agents),
        people: mutual(Population::People),
        tiles: certs::public_listener(&identity, Arc::clone(&clock)).map_err(Into::into),
    })
}

/// Serves until `cancel`, then stops taking connections, lets open calls end, and writes a last checkpoint.
pub async fn serve(node: Node, cancel: CancellationToken) -> anyhow::Result<()> {
    // Before the first configurations: what changes while they are made is asked for again.
    let mut asked = node.state.reload.serve();
    let first = configurations(&node)?;
    let (enrol_config, enrol) = watch::channel(first.enrol?);
    let (agents_config, agents) = watch::channel(first.agents?);
    let (people_config, people) = watch::channel(first.people?);
    let (tiles_config, tiles) = watch::channel(first.tiles?);
    let denylist = Arc::clone(&node.denylist);
    let mut revocations = denylist.changes();
    let limits = Limits::for_open_files(open_files_max());
    let trust_domain = node.state.trust_domain().parse().context("trust_domain")?;
    let holders = |population| Audience::Holders { trust_domain: Clone::clone(&trust_domain), population };
    let bind = async |name: &str, address| {
        TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address} for {name}"))
    };
    let quotas = Quotas::new(&node.config.quota);
    let mut turned_away = TurnedAway::new(Arc::clone(&quotas));
    let listen_at = node.config.listen.clone();
    let enrol_incoming = listen(
        bind("enrol", listen_at.enrol).await?,
        enrol,
        Audience::Anybody,
        limits.of_strangers(),
        turned_away.counters("enrol"),
    );
    let agents_incoming = listen_denying(
        bind("agents", listen_at.agents).await?,
        agents,
        holders(Population::Agents),
        limits,
        turned_away.counters("agents"),
        Arc::clone(&denylist),
    );
    let people_incoming = listen_denying(
        bind("people", listen_at.people).await?,
        people,
        holders(Population::People),
        limits,
        turned_away.counters("people"),
        Arc::clone(&denylist),
    );

    let changes = node.state.log_key_changes();
    if !changes.is_empty() {
        let lines: String = changes.iter().map(crate::log_key::Changed::line).collect();
        let mut folder = tree::Folder::new(&node.dir.tree());
        folder.prepare().and_then(|()| folder.put_log_keys(&lines)).context("cannot show the log's keys")?;
    }
    let tree = tree::start(node.dir.tree(), node.state.ledger.clone(), node.state.log_keys().to_vec())
        .context("cannot start the thread of the public tree")?;
    let tasks = TaskTracker::new();
    if let Some((settings, desk)) = &node.witnesses {
        let around = Surroundings {
            ledger: node.state.ledger.clone(),
            desk: Arc::clone(desk),
            sequencer: node.state.sequencer.clone(),
            kept: node.dir.witnesses(),
            clock: Arc::clone(&node.state.clock),
        };
        witnesses::start(settings, around, &tasks, &cancel);
    }
    if let Some(address) = listen_at.tiles {
        let socket = bind("the public tree", address).await?;
        let counters = turned_away.counters("tiles");
        let incoming = listen(socket, tiles, Audience::Anybody, limits.of_readers(), counters);
        let (root, cancel) = (node.dir.tree(), cancel.clone());
        tasks.spawn(async move { tree::web::serve(&root, incoming, cancel).await });
    }
    let (state, identities) = (Arc::clone(&node.state), Arc::clone(&node.identities));
    let begun = Arc::clone(&state);
    tasks.spawn(async move {
        match begun.finish_erasures().await {
            Ok(0) => {}
            Ok(scopes) => tracing::info!(scopes, "An erasure that was interrupted is finished."),
            Err(error) => tracing::error!(error = %error, "An interrupted erasure is not finished; restart to try again."),
        }
    });
    let stop = || {
        let cancel = cancel.clone();
        async move { cancel.cancelled().await }
    };
    let health = async || {
        let (reporter, service) = tonic_health::server::health_reporter();
        reporter.set_service_status("", tonic_health::ServingStatus::Serving).await;
        service
    };
    let makers = node.config.tpm_roots.as_ref().map(|roots| residency::makers(&node.dir.path().join(roots)));
    let enrolling = Arc::new(Enrolling::open(node.dir.pending(), node.config.admit_known_hardware));
    let enrol_service = EnrolService::new(
        Arc::clone(&state),
        Arc::clone(&identities),
        Arc::clone(&enrolling),
        node.config.predecessor_tree.as_ref().map(|tree| node.dir.path().join(tree)),
    );
    let enrol_service = EnrolmentServer::new(enrol_service.trusting(makers.transpose()?))
        .max_decoding_message_size(ENROL_MESSAGE_BYTES_MAX);
    let gate = |listener| Gate::new(listener, Arc::clone(&denylist));
    tasks.spawn(
        http2::server(Clients::Strangers)
            .layer(gate(Listener::Enrol))
            .add_service(enrol_service)
            .add_service(health().await)
            .serve_with_incoming_shutdown(enrol_incoming, stop()),
    );
    let unstored = Arc::new(Unstored::default());
    let keeper = Keeper {
        dir: Arc::clone(&node.dir),
        ballast_bytes: node.config.ballast_bytes,
        free_bytes_min: node.config.free_bytes_min,
        unstored: Arc::clone(&unstored),
        said: None,
    };
    tasks.spawn(keeper.run(cancel.clone()));
    tasks.spawn(silence::watch(Arc::clone(&state), cancel.clone()));
    tasks.spawn(turned_away.run(cancel.clone()));
    let renewals = Renewals::new(Arc::clone(&state), Arc::clone(&identities));
    let ingest_service = IngestService::new(
        Arc::clone(&state),
        renewals,
        Arc::clone(&denylist),
        unstored,
        Arc::clone(&quotas),
        cancel.clone(),
    );
    let ingest_service = IngestServer::new(ingest_service).max_decoding_message_size(AGENT_MESSAGE_BYTES_MAX);
    tasks.spawn(
        http2::server(Clients::Agents)
            .layer(gate(Listener::Agents))
            .add_service(ingest_service)
            .add_service(health().await)
            .serve_with_incoming_shutdown(agents_incoming, stop()),
    );
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(rpc::DESCRIPTORS)
        .build_v1()
        .context("reflection")?;
    let access = Arc::new(AccessBook::open(Arc::clone(&state), node.dir.path()));
    let (day, day_cancel) = (Arc::clone(&access), cancel.clone());
    tasks.spawn(async move { day.run(day_cancel).await });
    let people_service = PeopleService::new(
        Arc::clone(&state),
        Arc::clone(&identities),
        Arc::clone(&access),
        Arc::clone(&enrolling),
        &node.dir.payloads(),
    );
    let people_service =
        PeopleServer::new(people_service).max_decoding_message_size(PERSON_MESSAGE_BYTES_MAX);
    tasks.spawn(
        http2::server(Clients::People)
            .layer(gate(Listener::People))
            .add_service(people_service)
            .add_service(health().await)
            .add_service(reflection)
            .serve_with_incoming_shutdown(people_incoming, stop()),
    );
    let socket_path = node.dir.admin_socket();
    let socket = admin_socket(&socket_path)?;
    let admin_service = AdminServer::new(AdminService::new(Arc::clone(&state), identities))
        .max_decoding_message_size(PERSON_MESSAGE_BYTES_MAX);
    tasks.spawn(
        tonic::transport::Server::builder()
            .layer(gate(Listener::Socket))
            .add_service(admin_service)
            .serve_with_incoming_shutdown(UnixListenerStream::new(socket), stop()),
    );
    tracing::info!(
        enrol = %listen_at.enrol, agents = %listen_at.agents, people = %listen_at.people,
        entries = state.ledger.size(), "Collector is ready."
    );

    tasks.spawn(reload::watcher::follow(node.dir.certs(), Arc::clone(&state), cancel.clone()));
    let mut refresh = tokio::time::interval(REFRESH_INTERVAL);
    refresh.tick().await;
    loop {
        tokio::select! {
            () = cancel.cancelled() => break,
            _ = refresh.tick() => {}
            // Calls and connections ended with the entry; from here on handshakes fail too.
            _ = revocations.changed() => {}
            asked = asked.changed() => if asked.is_err() { break },
        }
        let upto = *asked.borrow_and_update();
        match configurations(&node) {
            Ok(fresh) => {
                let all = [
                    put("enrolment", &enrol_config, fresh.enrol),
                    put("agents", &agents_config, fresh.agents),
                    put("people", &people_config, fresh.people),
                    put("public tree", &tiles_config, fresh.tiles),
                ];
                // Whoever waits for a change must not be told that a listener took it that did not.
                if all.iter().all(|taken| *taken) {
                    state.reload.done(upto);
                }
            }
            // The old ones hold for a day; the next hour tries again.
            Err(error) => {
                tracing::error!(error = %format!("{error:#}"), "Certificates could not be refreshed.");
            }
        }
    }
    tasks.close();
    if tokio::time::timeout(SHUTDOWN_GRACE, tasks.wait()).await.is_err() {
        tracing::warn!("Some calls did not end in time and were cut.");
    }
    access.close().await;
    drop(access);
    // The socket would only mislead the commands that look for a running server.
    drop(std::fs::remove_file(&socket_path));
    drop(state);
    // The writer first: the tree shows its last checkpoint.
    let close = move || {
        node.close();
        tree.stop();
    };
    tokio::task::spawn_blocking(close).await.context("the writer did not stop")?;
    tracing::info!("Collector has stopped.");
    Ok(())
}

/// Binds the admin socket, readable and writable by its owner alone. The data directory's lock says that no other server uses it.
fn admin_socket(path: &std::path::Path) -> anyhow::Result<UnixListener> {
    use std::os::unix::fs::PermissionsExt as _;
    if path.exists() {
        std::fs::remove_file(path).with_context(|| format!("cannot remove the old {}", path.display()))?;
    }
    let socket =
        UnixListener::bind(path).with_context(|| format!("cannot make the socket {}", path.display()))?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))
        .with_context(|| format!("cannot protect {}", path.display()))?;
    Ok(socket)
}

fn open_files_max() -> u64 {
    rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(OPEN_FILES_ASSUMED)
}
