//! `init`: the only thing that creates. Keys, authorities, configuration, and the genesis at index 0.

use std::path::{Path, PathBuf};

use certs::{PersonPublicKey, Profile};
use evidence::acts::{Act, ActId, Body, Genesis, IssuingCas, Role};
use evidence::ids::{Digest, PersonId};
use evidence::keys::SecretKey;
use evidence::leaf::Kind;
use evidence::note::{Checkpoint, VerifierKey};
use evidence::time::{Clock as _, Timestamp};
use evidence::trust_domain::TrustDomain;

use crate::clock::SystemClock;
use crate::config::Config;
use crate::datadir::{DataDir, replace_file};
use crate::identity::{Identities, Issuer as _};
use crate::ledger::{Ledger, LedgerOptions};
use crate::node::{NodeError, high_water};
use crate::rollback::{mirror, require_memory};
use crate::secrets;
use crate::sequencer::{NewEntry, system_random};
use crate::service::admin;
use crate::state::random;
use crate::succession::{PredecessorTree, SIMULATED_LABEL_END, may_follow};

/// What `init` is told.
#[derive(Debug)]
pub struct Init {
    /// The data directory: absent or empty.
    pub dir: PathBuf,
    /// What becomes collector.toml.
    pub config: Config,
    /// The first admin's public keys.
    pub admin: PersonPublicKey,
    /// Where the root's key is written for its owner to take away.
    pub root_key_out: PathBuf,
    /// Where the admin's connection profile is written.
    pub profile_out: PathBuf,
    /// When simulated time begins, for a log whose time is simulated for ever; its origin ends in `/simulated`.
    pub simulated: Option<Timestamp>,
    /// Last checkpoint of the log that this one follows; its signature was checked.
    pub predecessor: Option<Checkpoint>,
}

/// What `init` made.
#[derive(Debug)]
pub struct Made {
    /// The admin's person id.
    pub admin: PersonId,
    /// The log key, for people to compare.
    pub log_vkey: String,
    /// SHA-256 of the root certificate.
    pub root_ca: Digest,
}

fn setting(error: impl std::fmt::Display) -> NodeError {
    NodeError::Setting(error.to_string())
}

/// Makes a collector.
pub fn init(order: Init) -> Result<Made, NodeError> {
    let Init { dir, config, admin, root_key_out, profile_out, simulated, predecessor } = order;
    require_memory(&dir, &config)?;
    if config.origin.ends_with(SIMULATED_LABEL_END) != simulated.is_some() {
        let origin = &config.origin;
        let what = "the origin of a simulated log, and of no other, ends in /simulated";
        return Err(setting(format!("{what}: {origin} does not fit")));
    }
    if let Some(old) = &predecessor {
        may_follow(&config.origin, &config.trust_domain, old)?;
        if let Some(tree) = &config.predecessor_tree {
            PredecessorTree::open(tree, old)?;
        }
    }
    // A mark that is there already is the memory of another log, perhaps of one that was just lost.
    for path in [Some(&root_key_out), Some(&profile_out), config.high_water.as_ref()].into_iter().flatten() {
        if path.exists() {
            return Err(setting(format!("{} exists already; nothing was made", path.display())));
        }
    }
    if let Some(mirror) = &config.mirror {
        mirror::refuse_other(mirror)?;
    }
    let trust_domain: TrustDomain = config
        .trust_domain
        .parse()
        .map_err(|_| setting(format!("{:?} is no DNS name", config.trust_domain)))?;
    let dir = DataDir::create(&dir, config.ballast_bytes)?;
    let now = simulated.unwrap_or_else(|| SystemClock.now());
    let key = || -> Result<SecretKey, NodeError> {
        SecretKey::from_seed(&random().map_err(setting)?).map_err(setting)
    };
    let (log_key, operations) = (key()?, key()?);
    secrets::write_new(&dir.keys().join("log.key"), &secrets::encode(&log_key))?;
    secrets::write_new(&dir.keys().join("operations.key"), &secrets::encode(&operations))?;
    let made = Identities::create(&dir, &trust_domain, now, || random().map_err(std::io::Error::other))?;
    secrets::write_new(&root_key_out, made.root_key.as_bytes())?;
    let identities = made.identities;
    let person = PersonId::from_bytes(random().map_err(setting)?);
    let verifier = VerifierKey::new(&config.origin, *log_key.public()).map_err(setting)?;
    let digest = |authority: std::sync::Arc<certs::IssuingAuthority>| Digest::of(authority.certificate());
    let root_ca = Digest::of(identities.root());
    let genesis = Genesis {
        trust_domain: config.trust_domain.clone(),
        simulated: simulated.is_some(),
        accept_rollback_blindness: config.accept_rollback_blindness,
        log_key: verifier.clone(),
        operations_key: *operations.public(),
        root_ca,
        issuing_cas: IssuingCas {
            agents: digest(identities.agents()?),
            people: digest(identities.people()?),
            servers: digest(identities.servers()?),
        },
        admin: person,
        admin_key: admin.signing,
        admin_tls_key: admin.tls.id(),
        predecessor,
    };
    let id = ActId::from_bytes(random().map_err(setting)?);
    let envelope = Act::sign(Body::Genesis(genesis), &config.origin, id, now, &operations).encode();
    // The genesis passes the gate every act passes, before it becomes the log's first entry for ever.
    evidence::authority::Authority::new(&config.origin)
        .admit(0, now, Kind::GENESIS, &envelope)
        .map_err(setting)?;
    let text = config.text()?;
    replace_file(&dir.configuration(), text.as_bytes()).map_err(setting)?;
    let options = LedgerOptions { segment_bytes: config.segment_bytes, ..LedgerOptions::default() };
    Ledger::create(
        &dir,
        &options,
        &high_water(&dir, &config),
        now,
        &mut system_random(),
        Box::new(move |_| Ok(vec![NewEntry::new(Kind::GENESIS, envelope)])),
    )?;
    if let Some(folder) = &config.mirror {
        mirror::begin(folder, &config.origin, &log_key)?;
    }
    let chain =
        admin::person_chain(&identities, certs::Role::Admin, person, &admin.tls, now).map_err(setting)?;
    let profile = profile(&config, person, Role::Admin, chain, &trust_domain, vec![verifier.clone()])?;
    write_profile(&profile_out, &profile)?;
    Ok(Made { admin: person, log_vkey: verifier.vkey(), root_ca })
}

/// A person's connection profile.
pub fn profile(
    config: &Config,
    person: PersonId,
    role: Role,
    chain: Vec<Vec<u8>>,
    trust_domain: &TrustDomain,
    log_keys: Vec<VerifierKey>,
) -> Result<Profile, NodeError> {
    let [certificate, issuing, root] =
        <[Vec<u8>; 3]>::try_from(chain).map_err(|_| setting("a chain of three certificates was expected"))?;
    let host = config.server_names.first().ok_or_else(|| setting("server_names must name at least one"))?;
    let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
    Ok(Profile {
        server: format!("{host}:{}", config.listen.people.port()),
        trust_domain: trust_domain.clone(),
        origin: config.origin.clone(),
        person,
        role,
        certificate: certificate.into(),
        issuing: issuing.into(),
        root: root.into(),
        log_keys,
    })
}

/// Writes a profile: certificates only, no secret.
pub fn write_profile(path: &Path, profile: &Profile) -> Result<(), NodeError> {
    replace_file(path, &profile.encode())
        .map_err(|error| setting(format!("cannot write {}: {error}", path.display())))
}
