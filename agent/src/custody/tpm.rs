//! Keys in a TPM 2.0, through libtss2.
//!
//! Every call opens the TPM, makes the storage key anew from its seed, does one thing, and leaves nothing behind: the TPM has
//! three places, other programs use it too, and a laptop that slept finds them empty. The storage key is always the same
//! until the TPM is cleared.
//!
//! Nothing is bound to measurements of the boot (PCRs): an update of the firmware would take the device's identity.

mod templates;

use std::fmt;
use std::path::{Path, PathBuf};

use certs::residency::{ENDORSEMENT_CERTIFICATE_BYTES_MAX, public_area};
use certs::{HeldKey, HeldKeyError};
use data_encoding::HEXLOWER;
use evidence::enrolment::TlsPublicKey;
use sha2::{Digest as _, Sha256};
use tss_esapi::abstraction::AsymmetricAlgorithmSelection;
use tss_esapi::abstraction::ek::create_ek_public_from_default_template_2;
use tss_esapi::attributes::SessionAttributesBuilder;
use tss_esapi::constants::SessionType;
use tss_esapi::constants::tss::{TPM2_RH_NULL, TPM2_ST_HASHCHECK};
use tss_esapi::handles::{
    AuthHandle, KeyHandle, NvIndexHandle, NvIndexTpmHandle, ObjectHandle, SessionHandle, TpmHandle,
};
use tss_esapi::interface_types::algorithm::HashingAlgorithm;
use tss_esapi::interface_types::ecc::EccCurve;
use tss_esapi::interface_types::resource_handles::{Hierarchy, NvAuth};
use tss_esapi::interface_types::session_handles::{AuthSession, PolicySession};
use tss_esapi::structures::{
    CreateKeyResult, Digest, EncryptedSecret, HashcheckTicket, IdObject, Nonce, Private, Public,
    SensitiveData, Signature, SignatureScheme, SymmetricDefinition,
};
use tss_esapi::tcti_ldr::{DeviceConfig, NetworkTPMConfig, TctiNameConf};
use tss_esapi::traits::{Marshall as _, UnMarshall as _};
use tss_esapi::tss2_esys::TPMT_TK_HASHCHECK;
use tss_esapi::{Context, Error};
use zeroize::Zeroizing;

use self::templates::{sealed_object, signing_key, storage_key};
use super::{FORMAT, TpmAddress, TpmError, Wrapped, name_of};

/// The kind of endorsement key a collector can challenge.
const ENDORSEMENT: AsymmetricAlgorithmSelection = AsymmetricAlgorithmSelection::Ecc(EccCurve::NistP256);
/// Where makers write the certificate of a P-256 endorsement key (TCG EK Credential Profile, section 2.2.1.5).
const CERTIFICATE_AT: u32 = 0x01c0_000a;
/// Bytes read at once: every TPM gives so many.
const READ_BYTES: u16 = 512;
/// How many keys are made to get one without leading zeros, which one of 128 has where they are left out.
const KEY_TRIES: u32 = 8;
/// Bytes of a P-256 coordinate, of r and of s.
const SCALAR_BYTES: usize = 32;

/// A P-256 key that this TPM made and only it can use.
pub(super) struct Key {
    address: TpmAddress,
    wrapped: Wrapped,
    path: PathBuf,
    public: TlsPublicKey,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key(of {:?} in the TPM at {})", self.public, self.address)
    }
}

impl Key {
    /// The key in `wrapped`. The TPM is not asked yet.
    pub(super) fn of(address: &TpmAddress, wrapped: Wrapped, path: &Path) -> Result<Self, TpmError> {
        let public = point(&parts(&wrapped)?.0)?;
        Ok(Self { address: address.clone(), wrapped, path: path.to_owned(), public })
    }

    fn try_sign(&self, message: &[u8]) -> Result<[u8; 64], TpmError> {
        let digest = Digest::try_from(Sha256::digest(message).to_vec()).map_err(answer)?;
        let signature = opened(&self.address, |tpm| {
            tpm.loaded(&self.wrapped, &self.path, |tpm, key| {
                let nothing = HashcheckTicket::try_from(TPMT_TK_HASHCHECK {
                    tag: TPM2_ST_HASHCHECK,
                    hierarchy: TPM2_RH_NULL,
                    digest: Default::default(),
                });
                let nothing = nothing.map_err(answer)?;
                tpm.ask("sign", |context| context.sign(key, digest, SignatureScheme::Null, nothing))
            })
        })?;
        let Signature::EcDsa(signature) = signature else {
            return Err(TpmError::Answer("its signature is not ECDSA".into()));
        };
        let mut fixed = [0; 2 * SCALAR_BYTES];
        let (r, s) = fixed.split_at_mut(SCALAR_BYTES);
        right_aligned(signature.signature_r().value(), r)?;
        right_aligned(signature.signature_s().value(), s)?;
        // A faulty signature would say something about the key.
        self.public
            .verify(message, &fixed)
            .map_err(|_| TpmError::Answer("its signature does not hold".into()))?;
        Ok(fixed)
    }
}

impl HeldKey for Key {
    fn public(&self) -> &TlsPublicKey {
        &self.public
    }

    fn sign(&self, message: &[u8]) -> Result<[u8; 64], HeldKeyError> {
        self.try_sign(message).map_err(|error| HeldKeyError(error.to_string()))
    }
}

/// Makes a key that signs and does nothing else, and never leaves this TPM.
pub(super) fn make_key(address: &TpmAddress) -> Result<Wrapped, TpmError> {
    opened(address, |tpm| {
        for _ in 0..KEY_TRIES {
            let template = signing_key().map_err(answer)?;
            let parent = tpm.parent;
            let made =
                tpm.ask("make a key", |context| context.create(parent, template, None, None, None, None))?;
            let area = made.out_public.marshall().map_err(answer)?;
            // A collector writes the public area by itself: it must come out the same, also of a TPM that leaves zeros out.
            if area == public_area(&point(&made.out_public)?) {
                return tpm.wrapped(&made);
            }
        }
        Err(TpmError::Answer("it makes keys with other attributes than it was asked for".into()))
    })
}

/// Seals a seed to this TPM.
pub(super) fn seal(address: &TpmAddress, seed: &[u8; 32]) -> Result<Wrapped, TpmError> {
    opened(address, |tpm| {
        let template = sealed_object().map_err(answer)?;
        let secret = SensitiveData::try_from(seed.to_vec()).map_err(answer)?;
        let parent = tpm.parent;
        let made = tpm.privately("seal a key", |context| {
            context.create(parent, template, None, Some(secret), None, None)
        })?;
        tpm.wrapped(&made)
    })
}

/// The seed that [`seal`] sealed, in memory that is wiped.
pub(super) fn unseal(
    address: &TpmAddress,
    wrapped: &Wrapped,
    path: &Path,
) -> Result<Zeroizing<[u8; 32]>, TpmError> {
    opened(address, |tpm| {
        tpm.loaded(wrapped, path, |tpm, object| {
            let secret = tpm.privately("unseal the key", |context| context.unseal(object.into()))?;
            let mut seed = Zeroizing::new([0; 32]);
            if secret.value().len() != seed.len() {
                return Err(TpmError::Answer("the sealed key is not 32 bytes".into()));
            }
            seed.copy_from_slice(secret.value());
            Ok(seed)
        })
    })
}

/// The certificate that its maker wrote into the TPM, if there is one of a P-256 key.
pub(super) fn endorsement_certificate(address: &TpmAddress) -> Result<Option<Vec<u8>>, TpmError> {
    opened(address, |tpm| match tpm.ask("read its certificate", read_certificate) {
        Ok(der) => Ok(Some(without_padding(&der).to_vec()).filter(|der| !der.is_empty())),
        Err(error) => {
            // A TPM without one refuses the read; whatever the reason, there is none to show.
            tracing::info!(%error, "The TPM shows no certificate of its maker.");
            Ok(None)
        }
    })
}

fn read_certificate(context: &mut Context) -> Result<Vec<u8>, Error> {
    let place = TpmHandle::NvIndex(NvIndexTpmHandle::new(CERTIFICATE_AT)?);
    let (place, size) = context.execute_without_session(|context| {
        let place = NvIndexHandle::from(context.tr_from_tpm_public(place)?);
        let (public, _name) = context.nv_read_public(place)?;
        Ok::<_, Error>((place, public.data_size().min(ENDORSEMENT_CERTIFICATE_BYTES_MAX)))
    })?;
    let mut der = Vec::with_capacity(size);
    while der.len() < size {
        let wanted = u16::try_from(size - der.len()).unwrap_or(u16::MAX).min(READ_BYTES);
        let offset = u16::try_from(der.len()).unwrap_or(u16::MAX);
        let part = context.nv_read(NvAuth::NvIndex(place), place, wanted, offset)?;
        if part.value().is_empty() {
            break;
        }
        der.extend_from_slice(part.value());
    }
    Ok(der)
}

/// Opens a collector's challenge, which this TPM does only with the key in it.
pub(super) fn answer_challenge(
    address: &TpmAddress,
    wrapped: &Wrapped,
    path: &Path,
    credential: &[u8],
    secret: &[u8],
) -> Result<Vec<u8>, TpmError> {
    let credential = IdObject::try_from(credential).map_err(answer)?;
    let secret = EncryptedSecret::try_from(secret).map_err(answer)?;
    opened(address, |tpm| {
        tpm.loaded(wrapped, path, |tpm, key| {
            let endorsement = tpm.ask("make its endorsement key", |context| {
                let template = create_ek_public_from_default_template_2(ENDORSEMENT, None)?;
                let made =
                    context.create_primary(Hierarchy::Endorsement, template, None, None, None, None)?;
                Ok(made.key_handle)
            })?;
            let opened = tpm.with_endorsement_policy(|tpm, policy| {
                tpm.ask("open the collector's challenge", |context| {
                    let both = (Some(AuthSession::Password), Some(policy), None);
                    context.execute_with_sessions(both, |context| {
                        context.activate_credential(key, endorsement, credential, secret)
                    })
                })
            });
            let opened = tpm.forget(endorsement.into(), opened)?;
            Ok(opened.value().to_vec())
        })
    })
}

/// DER says how long it is; a place in a TPM may be longer.
fn without_padding(bytes: &[u8]) -> &[u8] {
    let length = match bytes {
        [0x30, 0x82, high, low, ..] => 4 + usize::from(u16::from_be_bytes([*high, *low])),
        _ => bytes.len(),
    };
    bytes.get(..length).unwrap_or(bytes)
}

/// A TPM for the length of one call, with its storage key.
struct Opened<'a> {
    address: &'a TpmAddress,
    context: Context,
    parent: KeyHandle,
    parent_name: String,
}

/// Opens the TPM and does `what`. Nothing stays loaded, whatever happens.
fn opened<T>(
    address: &TpmAddress,
    what: impl FnOnce(&mut Opened<'_>) -> Result<T, TpmError>,
) -> Result<T, TpmError> {
    let gone = |error: Error| TpmError::Gone {
        address: address.clone(),
        // The library has one word for all of it.
        problem: unreachable(address).map_or_else(|| error.to_string(), |refused| refused.to_string()),
    };
    let mut context = Context::new(configured(address).map_err(gone)?).map_err(gone)?;
    context.set_sessions((Some(AuthSession::Password), None, None));
    let (parent, public) = primary(&mut context, Hierarchy::Owner)
        .map_err(|error| refused(address, "make its storage key", error))?;
    let mut tpm = Opened { address, context, parent, parent_name: name(&public)? };
    let done = what(&mut tpm);
    tpm.forget(parent.into(), done)
}

/// What the system says of the way to a TPM, if it is closed.
fn unreachable(address: &TpmAddress) -> Option<std::io::Error> {
    match address {
        TpmAddress::Device(number) => {
            std::fs::File::options().read(true).write(true).open(format!("/dev/tpmrm{number}")).err()
        }
        TpmAddress::Emulator(port) => std::net::TcpStream::connect(("127.0.0.1", *port)).err(),
    }
}

fn configured(address: &TpmAddress) -> Result<TctiNameConf, Error> {
    Ok(match address {
        TpmAddress::Device(_) => {
            let text = address.to_string();
            TctiNameConf::Device(text.strip_prefix("device:").unwrap_or_default().parse::<DeviceConfig>()?)
        }
        TpmAddress::Emulator(port) => {
            TctiNameConf::Swtpm(format!("host=127.0.0.1,port={port}").parse::<NetworkTPMConfig>()?)
        }
    })
}

/// The storage key of a hierarchy, always the same one for the same seed.
fn primary(context: &mut Context, hierarchy: Hierarchy) -> Result<(KeyHandle, Public), Error> {
    let made = context.create_primary(hierarchy, storage_key()?, None, None, None, None)?;
    Ok((made.key_handle, made.out_public))
}

impl Opened<'_> {
    /// One command, authorised by the empty password that all these objects have.
    fn ask<T>(
        &mut self,
        what: &'static str,
        command: impl FnOnce(&mut Context) -> Result<T, Error>,
    ) -> Result<T, TpmError> {
        command(&mut self.context).map_err(|error| refused(self.address, what, error))
    }

    /// One command whose secret is encrypted on its way: the wires to the chip can be listened to.
    fn privately<T>(
        &mut self,
        what: &'static str,
        command: impl FnOnce(&mut Context) -> Result<T, Error>,
    ) -> Result<T, TpmError> {
        let parent = self.parent;
        let session = self.ask("begin a session", |context| {
            context.execute_without_session(|context| {
                context.start_auth_session(
                    Some(parent),
                    None,
                    None,
                    SessionType::Hmac,
                    SymmetricDefinition::AES_128_CFB,
                    HashingAlgorithm::Sha256,
                )
            })
        })?;
        let session = session.ok_or_else(|| TpmError::Answer("it began no session".into()))?;
        let (attributes, mask) = SessionAttributesBuilder::new()
            .with_continue_session(true)
            .with_decrypt(true)
            .with_encrypt(true)
            .build();
        let done = self.ask(what, |context| {
            context.tr_sess_set_attributes(session, attributes, mask)?;
            context.execute_with_session(Some(session), command)
        });
        self.forget(SessionHandle::from(session).into(), done)
    }

    /// Loads a key of this TPM's, does `what` with it, and takes it out again.
    fn loaded<T>(
        &mut self,
        wrapped: &Wrapped,
        path: &Path,
        what: impl FnOnce(&mut Self, KeyHandle) -> Result<T, TpmError>,
    ) -> Result<T, TpmError> {
        if wrapped.parent != self.parent_name {
            let path = path.display().to_string();
            return Err(if self.chip()? == wrapped.chip {
                TpmError::Cleared { path }
            } else {
                TpmError::Another { path }
            });
        }
        let (public, private) = parts(wrapped)?;
        let parent = self.parent;
        let key = self.ask("load the key", |context| context.load(parent, private, public))?;
        let done = what(self, key);
        self.forget(key.into(), done)
    }

    /// What tells this chip from another, also after it was cleared: its endorsement seed stays.
    fn chip(&mut self) -> Result<String, TpmError> {
        let (key, public) =
            self.ask("make its endorsement key", |context| primary(context, Hierarchy::Endorsement))?;
        let named = name(&public);
        self.forget(key.into(), named)
    }

    /// A session that shows the endorsement hierarchy's (empty) password, as the default endorsement key wants it.
    fn with_endorsement_policy<T>(
        &mut self,
        what: impl FnOnce(&mut Self, AuthSession) -> Result<T, TpmError>,
    ) -> Result<T, TpmError> {
        let session = self.ask("begin a session", |context| {
            context.execute_without_session(|context| {
                context.start_auth_session(
                    None,
                    None,
                    None,
                    SessionType::Policy,
                    SymmetricDefinition::AES_128_CFB,
                    HashingAlgorithm::Sha256,
                )
            })
        })?;
        let session = session.ok_or_else(|| TpmError::Answer("it began no session".into()))?;
        let (attributes, mask) = SessionAttributesBuilder::new().with_continue_session(true).build();
        let shown = self.ask("show the endorsement password", |context| {
            context.tr_sess_set_attributes(session, attributes, mask)?;
            let policy = PolicySession::try_from(session)?;
            context.execute_with_session(Some(AuthSession::Password), |context| {
                context.policy_secret(
                    policy,
                    AuthHandle::Endorsement,
                    Nonce::default(),
                    Digest::default(),
                    Nonce::default(),
                    None,
                )
            })
        });
        let done = shown.and_then(|_| what(self, session));
        self.forget(SessionHandle::from(session).into(), done)
    }

    fn wrapped(&mut self, made: &CreateKeyResult) -> Result<Wrapped, TpmError> {
        Ok(Wrapped {
            format: FORMAT.to_owned(),
            chip: self.chip()?,
            parent: self.parent_name.clone(),
            public: HEXLOWER.encode(&made.out_public.marshall().map_err(answer)?),
            private: HEXLOWER.encode(made.out_private.value()),
        })
    }

    /// Takes something out of the TPM, also after a failure.
    fn forget<T>(&mut self, handle: ObjectHandle, done: Result<T, TpmError>) -> Result<T, TpmError> {
        let flushed = self.ask("forget a key", |context| context.flush_context(handle));
        done.and_then(|done| flushed.map(|()| done))
    }
}

fn parts(wrapped: &Wrapped) -> Result<(Public, Private), TpmError> {
    let bytes = |text: &str| {
        HEXLOWER
            .decode(text.as_bytes())
            .map_err(|_| TpmError::Answer("the key's file is damaged: not hex".into()))
    };
    let public = Public::unmarshall(&bytes(&wrapped.public)?).map_err(answer)?;
    let private = Private::try_from(bytes(&wrapped.private)?).map_err(answer)?;
    Ok((public, private))
}

fn name(public: &Public) -> Result<String, TpmError> {
    public.marshall().map(|bytes| name_of(&bytes)).map_err(answer)
}

/// The public key in `public`, which must be a P-256 one that can only sign.
fn point(public: &Public) -> Result<TlsPublicKey, TpmError> {
    let Public::Ecc { unique, object_attributes: attributes, .. } = public else {
        return Err(TpmError::Answer("the key is of another kind than P-256".into()));
    };
    if !(attributes.fixed_tpm() && attributes.sensitive_data_origin() && attributes.sign_encrypt())
        || attributes.decrypt()
    {
        return Err(TpmError::Answer("the key was not made in this TPM for signing alone".into()));
    }
    let mut point = [0; 1 + 2 * SCALAR_BYTES];
    let (kind, coordinates) = point.split_at_mut(1);
    kind.fill(4);
    let (x, y) = coordinates.split_at_mut(SCALAR_BYTES);
    right_aligned(unique.x().value(), x)?;
    right_aligned(unique.y().value(), y)?;
    TlsPublicKey::from_point(&point).map_err(|error| TpmError::Answer(error.to_string()))
}

/// A TPM may leave leading zeros out.
fn right_aligned(number: &[u8], into: &mut [u8]) -> Result<(), TpmError> {
    let begin = into.len().checked_sub(number.len());
    let place = begin.and_then(|begin| into.get_mut(begin..));
    place.ok_or_else(|| TpmError::Answer("a number has more than 32 bytes".into()))?.copy_from_slice(number);
    Ok(())
}

fn refused(address: &TpmAddress, what: &'static str, error: Error) -> TpmError {
    TpmError::Refused { address: address.clone(), what, problem: error.to_string() }
}

fn answer(error: Error) -> TpmError {
    TpmError::Answer(error.to_string())
}
