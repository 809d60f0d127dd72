//! What a device says of itself when it enrols: the detail record 0.4, erasable, and never evidence.
//!
//! The collector admits a listed serial number by it and sees that a newcomer is a machine it has already. Whoever controls
//! a device can say anything here; what counts stands in statements, and a person decides.

use crate::json::{self, JsonError, Members, Value, object};

/// Most identifiers one device tells: a server with many network cards has some dozens.
pub const IDENTIFIERS_MAX: usize = 64;
/// Longest value in bytes: SMBIOS texts are shorter.
pub const VALUE_BYTES_MAX: usize = 256;
/// Kinds that no two machines share unless one was copied: by these a newcomer is compared with what is there.
pub const TELLING: [&str; 3] = ["hardware_uuid", "machine_id", "system_serial"];
/// The kind by which a token lists devices.
pub const SERIAL: &str = "system_serial";

/// What a newcomer tells.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Newcomer {
    /// Its host name.
    pub host_name: String,
    /// (kind, value), ascending; kinds are those of `Identifier` in evidence.proto, in lower case.
    pub identifiers: Vec<(String, String)>,
}

impl Newcomer {
    /// What a device that looked at itself tells: every identifier with a value, placeholders left out.
    pub fn of(host_name: &str, facts: Option<&proto::DeviceIdentity>) -> Self {
        let mut identifiers: Vec<(String, String)> = facts
            .map(|facts| facts.identifiers.as_slice())
            .unwrap_or_default()
            .iter()
            .filter(|found| found.placeholder != Some(true))
            .filter(|found| !found.value.is_empty() && found.value.len() <= VALUE_BYTES_MAX)
            .filter(|found| !found.value.chars().any(char::is_control))
            .map(|found| {
                let name = found.kind().as_str_name().trim_start_matches("IDENTIFIER_KIND_");
                (name.to_lowercase(), found.value.clone())
            })
            .collect();
        identifiers.sort();
        identifiers.dedup();
        identifiers.truncate(IDENTIFIERS_MAX);
        Self { host_name: host_name.to_owned(), identifiers }
    }

    /// The detail's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let identifier = |(kind, value): &(String, String)| {
            object([("kind", json::text(kind)), ("value", json::text(value))])
        };
        object([
            ("host_name", json::text(&self.host_name)),
            ("identifiers", Value::Array(self.identifiers.iter().map(identifier).collect())),
        ])
        .to_bytes()
    }

    /// Reads a detail; one of an older agent has no identifiers.
    pub fn parse(bytes: &[u8]) -> Result<Self, JsonError> {
        let mut members = Members::of(Value::parse(bytes)?, "detail")?;
        let host_name = members.text("host_name")?;
        let mut identifiers = Vec::new();
        if members.has("identifiers") {
            for mut item in members.objects("identifiers")? {
                let (kind, value) = (item.text("kind")?, item.text("value")?);
                if value.is_empty() || value.len() > VALUE_BYTES_MAX {
                    return Err(item.problem("value", "must have 1 to 256 bytes"));
                }
                item.finish()?;
                identifiers.push((kind, value));
            }
        }
        if identifiers.len() > IDENTIFIERS_MAX || !identifiers.is_sorted_by(|a, b| a < b) {
            return Err(members.problem("identifiers", "must be at most 64, ascending, each once"));
        }
        members.finish()?;
        Ok(Self { host_name, identifiers })
    }

    /// Its serial number, if it tells one.
    pub fn serial(&self) -> Option<&str> {
        self.identifiers.iter().find(|(kind, _)| kind == SERIAL).map(|(_, value)| value.as_str())
    }

    /// What no other machine tells, unless one was copied.
    pub fn telling(&self) -> impl Iterator<Item = &(String, String)> {
        self.identifiers.iter().filter(|(kind, _)| TELLING.contains(&kind.as_str()))
    }
}

/// The serial numbers of a list: one a line, ascending, each once, none empty. `None` for anything else.
pub fn serial_lines(detail: &[u8]) -> Option<Vec<&str>> {
    let text = std::str::from_utf8(detail).ok()?;
    let lines: Vec<&str> = text.lines().collect();
    let sound = |line: &&str| !line.is_empty() && line.len() <= VALUE_BYTES_MAX && line.trim() == *line;
    (lines.iter().all(sound) && lines.is_sorted_by(|a, b| a < b)).then_some(lines)
}

#[cfg(test)]
mod tests {
    use super::{Newcomer, serial_lines};

    fn facts() -> proto::DeviceIdentity {
        let identifier = |kind: proto::IdentifierKind, value: &str, placeholder| proto::Identifier {
            kind: kind.into(),
            value: value.to_owned(),
            placeholder,
        };
        proto::DeviceIdentity {
            identifiers: vec![
                identifier(proto::IdentifierKind::MachineId, "ab12", None),
                identifier(proto::IdentifierKind::SystemSerial, "5CG1234XYZ", Some(false)),
                identifier(proto::IdentifierKind::BoardSerial, "Default string", Some(true)),
                identifier(proto::IdentifierKind::Vendor, "", None),
            ],
            identifiers_truncated: false,
        }
    }

    #[test]
    fn a_newcomer_is_read_back_and_placeholders_are_nothing_to_know_it_by() {
        let newcomer = Newcomer::of("laptop-7", Some(&facts()));
        assert_eq!(newcomer.serial(), Some("5CG1234XYZ"));
        assert_eq!(newcomer.telling().count(), 2, "{newcomer:?}");
        assert_eq!(newcomer.identifiers.len(), 2);
        assert_eq!(Newcomer::parse(&newcomer.encode()).unwrap(), newcomer);
        let older = Newcomer::parse(b"{\"host_name\":\"old\"}").unwrap();
        assert_eq!((older.host_name.as_str(), older.identifiers.len()), ("old", 0));
        for bad in [
            "{}",
            "{\"host_name\":\"a\",\"identifiers\":[{\"kind\":\"b\",\"value\":\"\"}]}",
            "{\"host_name\":\"a\",\"identifiers\":[{\"kind\":\"b\",\"value\":\"c\"},{\"kind\":\"a\",\"value\":\"c\"}]}",
            "{\"host_name\":\"a\",\"more\":1}",
        ] {
            assert!(Newcomer::parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_list_is_ascending_lines() {
        assert_eq!(serial_lines(b"A1\nB2\n"), Some(vec!["A1", "B2"]));
        assert_eq!(serial_lines(b"B2\nA1\n"), None);
        assert_eq!(serial_lines(b"A1\nA1\n"), None);
        assert_eq!(serial_lines(b" A1\n"), None);
        assert_eq!(serial_lines(b"A1\n\nB2\n"), None);
        assert_eq!(serial_lines(&[0xff]), None);
    }
}
