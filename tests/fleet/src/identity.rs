//! Identifiers of a device: in the form of the recording's, and no other device's.

use crate::seeded::Seeded;

/// What of an address names its maker, in characters.
const MAKER: usize = "00:00:00".len();
/// What of a serial number is the same for a model, in characters.
const MODEL: usize = 2;

/// Gives every identifier of a recording the value that one device has for ever. Its maker stays.
pub(crate) fn apply(identity: &mut proto::DeviceIdentity, device: u64) {
    let mut seeded = Seeded::new(device);
    for identifier in &mut identity.identifiers {
        let kept = match identifier.kind() {
            proto::IdentifierKind::Vendor => continue,
            proto::IdentifierKind::MacAddress => MAKER,
            proto::IdentifierKind::SystemSerial | proto::IdentifierKind::BoardSerial => MODEL,
            _ => 0,
        };
        let hexadecimal = !matches!(
            identifier.kind(),
            proto::IdentifierKind::SystemSerial
                | proto::IdentifierKind::BoardSerial
                | proto::IdentifierKind::Hostname
        );
        let changed = identifier.value.chars().enumerate().map(|(at, character)| match character {
            _ if at < kept => character,
            '0'..='9' | 'a'..='f' if hexadecimal => {
                char::from_digit(u32::from(seeded.byte() % 16), 16).unwrap_or(character)
            }
            '0'..='9' => char::from(b'0' + seeded.byte() % 10),
            'A'..='Z' => char::from(b'A' + seeded.byte() % 26),
            other => other,
        });
        identifier.value = changed.collect();
    }
    identity.identifiers.sort_by(|a, b| (a.kind, &a.value).cmp(&(b.kind, &b.value)));
}
