//! Where a TPM is: `tpm` of agent.toml.

use std::fmt;
use std::str::FromStr;

/// The one kind of device: the kernel's resource manager, behind which programs do not take each other's places in the TPM.
const DEVICE: &str = "device:/dev/tpmrm";
/// An emulator on this machine, for tests: whoever runs it has its keys.
const EMULATOR: &str = "swtpm:port=";

/// A TPM of this machine, by no name that a network could give a meaning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TpmAddress {
    /// `/dev/tpmrm` and a number.
    Device(u8),
    /// A port of this machine.
    Emulator(u16),
}

/// Why a text is no TPM's address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no TPM: it must be \"device:/dev/tpmrm0\" (or, for tests with an emulator, \"swtpm:port=2321\")"
)]
pub struct TpmAddressError(String);

impl FromStr for TpmAddress {
    type Err = TpmAddressError;

    fn from_str(text: &str) -> Result<Self, TpmAddressError> {
        let device = text.strip_prefix(DEVICE).and_then(|number| number.parse().ok()).map(Self::Device);
        let emulator = text.strip_prefix(EMULATOR).and_then(|port| port.parse().ok()).map(Self::Emulator);
        // As it is printed, and no other way: no signs, no leading zeros.
        device
            .or(emulator)
            .filter(|address| address.to_string() == text)
            .ok_or_else(|| TpmAddressError(text.to_owned()))
    }
}

impl fmt::Display for TpmAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Device(number) => write!(f, "{DEVICE}{number}"),
            Self::Emulator(port) => write!(f, "{EMULATOR}{port}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::TpmAddress;

    #[test]
    fn only_a_tpm_of_this_machine_has_an_address() {
        for good in ["device:/dev/tpmrm0", "device:/dev/tpmrm1", "swtpm:port=2321"] {
            assert_eq!(good.parse::<TpmAddress>().unwrap().to_string(), good);
        }
        for bad in [
            "",
            "/dev/tpmrm0",
            "device:/dev/tpm0",
            "device:/dev/tpmrm",
            "device:/dev/tpmrm00",
            "device:/dev/tpmrm0/../x",
            "swtpm:port=+1",
            "swtpm:host=192.0.2.1,port=1",
            "mssim:port=1",
            "tabrmd",
            "libtss2-tcti-evil.so",
            "cmd:sh",
        ] {
            assert!(bad.parse::<TpmAddress>().is_err(), "{bad}");
        }
    }
}
