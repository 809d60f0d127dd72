//! Identifiers and digests: one type per meaning, none of them personal. docs/FORMAT.md section 1.

use std::fmt;
use std::str::FromStr;

use data_encoding::{BASE32_NOPAD, HEXLOWER};
use sha2::{Digest as _, Sha256};

/// Longest identifier, in bytes: fits a DNS label, so that ids can appear in names and paths.
pub const ID_BYTES_MAX: usize = 63;

/// A 32-byte SHA-256 value.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// 32 zero bytes: "nothing before this".
    pub const ZERO: Self = Self([0; 32]);

    /// SHA-256 of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// SHA-256 of the concatenation of `parts`.
    pub fn of_parts(parts: &[&[u8]]) -> Self {
        let mut hasher = Sha256::new();
        for part in parts {
            hasher.update(part);
        }
        Self(hasher.finalize().into())
    }

    /// The digest in `bytes`, which must be exactly 32 bytes.
    pub fn from_slice(bytes: &[u8]) -> Result<Self, IdError> {
        <[u8; 32]>::try_from(bytes)
            .map(Self)
            .map_err(|_| IdError::Length { expected: 32, found: bytes.len() })
    }

    /// The digest written as 64 lower-case hex digits.
    pub fn from_hex(text: &str) -> Result<Self, IdError> {
        let bytes = HEXLOWER
            .decode(text.as_bytes())
            .map_err(|_| IdError::Form { what: "digest", expected: "64 lower-case hex digits" })?;
        Self::from_slice(&bytes)
    }

    /// 64 lower-case hex digits.
    pub fn hex(&self) -> String {
        HEXLOWER.encode(&self.0)
    }

    /// The raw bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.hex())
    }
}

/// Why an identifier was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// The byte length is wrong.
    #[error("expected {expected} bytes, found {found}")]
    Length {
        /// Required length in bytes.
        expected: usize,
        /// Length met.
        found: usize,
    },
    /// The text has another form.
    #[error("a {what} is {expected}")]
    Form {
        /// Name of the identifier.
        what: &'static str,
        /// Its form in words.
        expected: &'static str,
    },
}

macro_rules! random_id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal, $what:literal, $form:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; 16]);

        impl $name {
            /// The id of these 16 random bytes.
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(bytes)
            }

            /// The id in `bytes`, which must be exactly 16 bytes.
            pub fn from_slice(bytes: &[u8]) -> Result<Self, IdError> {
                <[u8; 16]>::try_from(bytes)
                    .map(Self)
                    .map_err(|_| IdError::Length { expected: 16, found: bytes.len() })
            }

            /// The 16 bytes.
            pub const fn as_bytes(&self) -> &[u8; 16] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{}"), BASE32_NOPAD.encode(&self.0).to_ascii_lowercase())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                let form = IdError::Form { what: $what, expected: $form };
                let tail = text.strip_prefix($prefix).ok_or_else(|| form.clone())?;
                if tail.bytes().any(|b| b.is_ascii_uppercase()) {
                    return Err(form);
                }
                let bytes = BASE32_NOPAD.decode(tail.to_ascii_uppercase().as_bytes()).map_err(|_| form.clone())?;
                Self::from_slice(&bytes).map_err(|_| form)
            }
        }
    };
}

random_id!(
    /// A device: `d-` and 26 base32 characters, given by the collector at enrolment.
    DeviceId, "d-", "device id", "d- and 26 characters of lower-case base32"
);
random_id!(
    /// A device instance, one per attestation key: `i-` and 26 base32 characters.
    InstanceId, "i-", "instance id", "i- and 26 characters of lower-case base32"
);
random_id!(
    /// A person: `p-` and 26 base32 characters.
    PersonId, "p-", "person id", "p- and 26 characters of lower-case base32"
);
random_id!(
    /// An audit engagement: `e-` and 26 base32 characters.
    EngagementId, "e-", "engagement id", "e- and 26 characters of lower-case base32"
);

/// Any other identifier: `[a-z0-9][a-z0-9-]{0,62}` (controls, groups, policies).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(String);

impl Name {
    /// The identifier as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Name {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let form =
            IdError::Form { what: "name", expected: "1 to 63 of a-z, 0-9 and -, not beginning with -" };
        let ok = !text.is_empty()
            && text.len() <= ID_BYTES_MAX
            && !text.starts_with('-')
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if ok { Ok(Self(text.to_owned())) } else { Err(form) }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A sampling unit `<device>/<day>/<control>`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnitId {
    /// The device.
    pub device: DeviceId,
    /// Day label, `YYYY-MM-DD`.
    pub day: crate::time::DayLabel,
    /// The control.
    pub control: Name,
}

impl fmt::Display for UnitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.device, self.day, self.control)
    }
}

impl FromStr for UnitId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let form = || IdError::Form { what: "unit id", expected: "<device>/<YYYY-MM-DD>/<control>" };
        let mut parts = text.split('/');
        let (Some(device), Some(day), Some(control), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(form());
        };
        Ok(Self {
            device: device.parse().map_err(|_| form())?,
            day: day.parse().map_err(|_| form())?,
            control: control.parse().map_err(|_| form())?,
        })
    }
}

/// What kind of machine a device is, as the roster says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// A portable computer.
    Laptop,
    /// A stationary computer of a person.
    Desktop,
    /// A physical server.
    Server,
    /// A virtual machine.
    Vm,
    /// A container.
    Container,
}

impl Class {
    /// Every class, in the order of the formats.
    pub const ALL: [Self; 5] = [Self::Laptop, Self::Desktop, Self::Server, Self::Vm, Self::Container];

    /// The lower-case name used in every format.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Laptop => "laptop",
            Self::Desktop => "desktop",
            Self::Server => "server",
            Self::Vm => "vm",
            Self::Container => "container",
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Class {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        Self::ALL
            .into_iter()
            .find(|class| class.as_str() == text)
            .ok_or(IdError::Form { what: "class", expected: "laptop, desktop, server, vm or container" })
    }
}

#[cfg(test)]
mod tests;
