//! The connection to a collector's people listener, and what its refusals mean for the person.

use std::fmt;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use certs::{PERSON_KEY_BYTES_MAX, PROFILE_BYTES_MAX, PersonKey, Profile};
use clap::Args;
use evidence::keys::SecretKey;
use evidence::log_keys::LogKeys;
use evidence::note::{Checkpoint, Note, VerifierKey};
use evidence::time::{Clock, Timestamp};
use proto::{LatestCheckpointReply, LatestCheckpointRequest, LogKeyChange, RenewSelfRequest};
use rpc::connect::{Address, connect};
use rpc::v1::people_client::PeopleClient;
use tonic::transport::Channel;
use tonic::{Code, Response, Status};

use crate::files;
use crate::table::clean;

/// Longest wait for an answer. Freezing or drawing a large population takes minutes.
const ANSWER_SECONDS_MAX: Duration = Duration::from_mins(10);

/// Longest answer taken, in bytes: posture and a draw are one message each, of about 250 bytes a unit. The 4 MiB that
/// gRPC clients take by themselves are reached by a fleet of some thousand devices.
const MESSAGE_BYTES_MAX: usize = 64 << 20;
/// Changes of the log's key that are read of one answer at most: one a month for twenty years.
const KEY_CHANGES_MAX: usize = 256;

/// Options of every command.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Connection profile, as the collector wrote it for this person
    #[arg(long, global = true, value_name = "FILE", env = "TALLYSTICK_PROFILE")]
    pub(crate) profile: Option<PathBuf>,
    /// Key file of this person, made by `tallystick key new`
    #[arg(long, global = true, value_name = "FILE", env = "TALLYSTICK_KEY")]
    pub(crate) key: Option<PathBuf>,
    /// File with the key file's passphrase, one line, `-` for standard input; without it you are asked
    #[arg(long, global = true, value_name = "FILE", env = "TALLYSTICK_PASSPHRASE_FILE")]
    pub(crate) passphrase_file: Option<PathBuf>,
    /// Print JSON instead of sentences
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

impl Options {
    /// The person's keys.
    pub(crate) fn read_key(&self) -> anyhow::Result<PersonKey> {
        let path = self.key.as_deref().context(
            "this needs your key: give --key FILE or set TALLYSTICK_KEY (`tallystick key new` makes one)",
        )?;
        let bytes = files::read_secret(path, "the key file", PERSON_KEY_BYTES_MAX)?;
        let named = || path.display().to_string();
        if PersonKey::is_protected(&bytes) {
            return PersonKey::unlock(&bytes, &self.passphrase(path)?).with_context(named);
        }
        let key = PersonKey::parse(&bytes).with_context(named)?;
        note(&format!(
            "{} has no passphrase: whoever copies it is you. `tallystick key protect` adds one.",
            path.display()
        ));
        Ok(key)
    }

    /// The connection profile.
    pub(crate) fn read_profile(&self) -> anyhow::Result<Profile> {
        let path = self.profile.as_deref().context(
            "this needs a connection: give --profile FILE or set TALLYSTICK_PROFILE (the collector's `init` or \
             `user create` writes it)",
        )?;
        let bytes = files::read(path, "the profile", PROFILE_BYTES_MAX)?;
        Profile::parse(&bytes).with_context(|| format!("{} is not a profile", path.display()))
    }

    /// Connects as the person of profile and key.
    pub(crate) async fn connect(&self, clock: Arc<dyn Clock>) -> anyhow::Result<Caller> {
        let profile = self.read_profile()?;
        let now = clock.now();
        let life = Life::of(&profile, now);
        if let Life::Ended(at) = life {
            // The collector would refuse the handshake in words about certificates.
            bail!(
                "your certificate ended at {}: have `tallystick-collector user renew --public-key FILE.pub --profile-out \
                 PROFILE` run on the collector's machine, and use the new profile",
                at.rfc3339()
            );
        }
        let key = self.read_key()?;
        let address: Address = profile.server.parse().context("the profile's server")?;
        let tls = certs::mutual_client(
            &profile.identity(key.tls),
            &profile.root,
            Arc::new(certs::SystemClock(clock)),
        )
        .context("the profile's certificate and the key file do not make a connection (are they the same person's?)")?;
        let connection = connect(&address, tls)
            .await
            .context("the collector cannot be reached: check that it runs and that the profile is its own")?;
        let people = PeopleClient::new(connection.channel).max_decoding_message_size(MESSAGE_BYTES_MAX);
        let mut caller = Caller { people, profile, signing: key.signing };
        if life == Life::Late
            && let Err(error) = self.renew(&mut caller).await
        {
            // What was asked for still works with the old one.
            note(&format!("your certificate could not be renewed: {error:#}"));
        }
        Ok(caller)
    }
}

/// How far a certificate's life has gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Life {
    /// More than a third is left, or nobody knows.
    Good,
    /// Less than a third is left: it is renewed by the way.
    Late,
    /// It ended then.
    Ended(Timestamp),
}

impl Life {
    fn of(profile: &Profile, now: Timestamp) -> Self {
        match profile.holds() {
            Some((_, until)) if now >= until => Self::Ended(until),
            Some((from, until)) => {
                let third = until.ms().saturating_sub(from.ms()) / 3;
                if until.ms().saturating_sub(now.ms()) < third { Self::Late } else { Self::Good }
            }
            None => Self::Good,
        }
    }
}

/// Says something beside the answer, which may be read by a program. Nobody may be there to hear it.
fn note(text: &str) {
    drop(writeln!(std::io::stderr(), "note: {text}"));
}

impl Options {
    /// Gets a fresh certificate for this person's key and keeps it in the profile's file.
    async fn renew(&self, caller: &mut Caller) -> anyhow::Result<()> {
        let chain = answer(caller.people.renew(RenewSelfRequest {})).await?.chain;
        let [certificate, issuing, root] = <[Vec<u8>; 3]>::try_from(chain)
            .map_err(|_| anyhow!("the collector's answer holds no chain of three certificates"))?;
        if caller.profile.root.as_ref() != root.as_slice() {
            return Err(anyhow!(
                "the collector's answer names another root than the profile: it was not kept"
            ));
        }
        let fresh =
            Profile { certificate: certificate.into(), issuing: issuing.into(), ..caller.profile.clone() };
        let path = self.profile.as_deref().context("the profile's file")?;
        files::replace(path, "the profile", &fresh.encode())?;
        caller.profile = fresh;
        Ok(())
    }
}

/// A person with an open connection.
#[derive(Debug)]
pub(crate) struct Caller {
    /// The calls.
    pub(crate) people: PeopleClient<Channel>,
    /// Where to, and as whom.
    pub(crate) profile: Profile,
    /// Signs this person's acts.
    pub(crate) signing: SecretKey,
}

impl Caller {
    /// The collector's newest checkpoint, signed by a key of the profile, with the proof from `from_size`.
    pub(crate) async fn checkpoint(
        &mut self,
        from_size: u64,
    ) -> anyhow::Result<(Checkpoint, LatestCheckpointReply)> {
        let reply = answer(self.people.latest_checkpoint(LatestCheckpointRequest { from_size })).await?;
        let note = Note::parse(reply.note.as_bytes()).context("the collector's checkpoint")?;
        // Witnesses may have cosigned it; a profile does not know them, and outside a set strange lines are ignored.
        let mut keys = LogKeys::pinned(&self.profile.log_keys);
        follow(&mut keys, &reply.key_changes);
        let checkpoint =
            keys.open_ignoring(&note, &self.profile.origin).context("the collector's checkpoint")?;
        self.profile.log_keys = keys.all().to_vec();
        Ok((checkpoint, reply))
    }
}

/// Follows the log's key: what no believed key endorsed is left out, and then signs nothing that is believed.
pub(crate) fn follow(keys: &mut LogKeys, changes: &[LogKeyChange]) {
    for change in changes.iter().take(KEY_CHANGES_MAX) {
        if let Ok(key) = VerifierKey::parse(&change.vkey) {
            keys.follow(change.index, &key, &change.endorsement);
        }
    }
}

/// Waits for an answer; a refusal becomes a [`Refusal`].
pub(crate) async fn answer<T>(
    call: impl Future<Output = Result<Response<T>, Status>>,
) -> Result<T, anyhow::Error> {
    match tokio::time::timeout(ANSWER_SECONDS_MAX, call).await {
        Ok(Ok(response)) => Ok(response.into_inner()),
        Ok(Err(status)) => Err(Refusal::of(&status).into()),
        Err(_) => Err(anyhow!(Refusal {
            code: Code::DeadlineExceeded,
            message: format!("the collector gave no answer within {} seconds", ANSWER_SECONDS_MAX.as_secs()),
        })),
    }
}

/// What a collector answered instead of doing it: a sentence with the next step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    code: Code,
    message: String,
}

impl Refusal {
    /// The refusal in a status, with what the connection itself reported.
    pub(crate) fn of(status: &Status) -> Self {
        let mut message = status.message().to_owned();
        let mut source = std::error::Error::source(status);
        while let Some(error) = source {
            let text = error.to_string();
            if !message.contains(&text) {
                message.push_str(": ");
                message.push_str(&text);
            }
            source = error.source();
        }
        if message.is_empty() {
            status.code().description().clone_into(&mut message);
        }
        // What a handshake is refused with: TLS has words for certificates, not for people.
        for (alert, words) in [
            ("CertificateRevoked", "your keys are revoked"),
            ("CertificateExpired", "your certificate has ended: have `tallystick-collector user renew` run"),
        ] {
            if message.contains(alert) {
                let message = format!("{words} ({})", clean(&message));
                return Self { code: Code::PermissionDenied, message };
            }
        }
        Self { code: status.code(), message: clean(&message) }
    }

    /// Whether the collector certainly did nothing. Else an act may be in the log although no answer came.
    pub(crate) fn is_certain(&self) -> bool {
        matches!(
            self.code,
            Code::InvalidArgument
                | Code::FailedPrecondition
                | Code::PermissionDenied
                | Code::Unauthenticated
                | Code::NotFound
                | Code::AlreadyExists
                | Code::ResourceExhausted
                | Code::OutOfRange
                | Code::Unimplemented
        )
    }

    fn next_step(&self) -> &'static str {
        match self.code {
            Code::InvalidArgument | Code::OutOfRange => "Correct it and try again.",
            Code::FailedPrecondition => {
                "`tallystick audit list`, `devices` and `log checkpoint` show how things stand."
            }
            Code::PermissionDenied => "Ask an admin whether your role may do this.",
            Code::Unauthenticated => "Ask an admin for a new certificate and profile.",
            Code::NotFound => "`tallystick devices` and `tallystick audit list` show what there is.",
            Code::AlreadyExists => "Nothing was changed.",
            Code::ResourceExhausted => "Wait a minute and try again.",
            Code::Unimplemented => "Use the client of the collector's release.",
            Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled | Code::Unknown => {
                "Whether the step was taken is not known: look (`tallystick audit list`, `tallystick devices`) before \
                 you repeat it."
            }
            _ => "Tell whoever runs the collector: its own log says more.",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stop = if self.message.ends_with(['.', '!', '?']) { "" } else { "." };
        write!(f, "the collector refused: {}{stop} {}", self.message, self.next_step())
    }
}

impl std::error::Error for Refusal {}

#[cfg(test)]
mod tests;
