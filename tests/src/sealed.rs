//! A second reader of sealed payloads, written from docs/FORMAT.md sections 5 and 13.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use evidence::erasure::{SCOPE_BYTES, Scope};
use evidence::ids::InstanceId;
use evidence::leaf::{Leaf, Stream};
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use ring::hmac;

/// Length of a record of the file of data keys.
const RECORD: usize = 128;
/// Longest payload.
const PAYLOAD_MAX: usize = 65_536;

/// The data keys by scope, as the format writes it.
#[derive(Debug, Default)]
pub struct DataKeys(BTreeMap<[u8; SCOPE_BYTES], [u8; 32]>);

impl DataKeys {
    /// Reads the keys of a collector that is down; none where there are no files.
    pub fn read(data: &Path) -> Self {
        let Ok(bytes) = fs::read(data.join("data-keys/keys")) else { return Self::default() };
        let wrap = fs::read(data.join("keys/wrap.key")).expect("the wrapping key");
        let wrap: serde_json::Value = serde_json::from_slice(&wrap).expect("JSON");
        assert_eq!(wrap["format"], "tallystick/wrap-key/v1");
        let wrap = evidence::json::decode_base64(wrap["key"].as_str().expect("a text")).expect("base64");
        let mut records = bytes.chunks_exact(RECORD);
        assert_eq!(&records.next().expect("a header")[..8], b"TSK1\0\0\0\x01");
        let mut keys = BTreeMap::new();
        for record in records {
            let (body, sum) = record.split_at(RECORD - 4);
            if crc32c::crc32c(body).to_be_bytes() != sum {
                break;
            }
            let scope: [u8; SCOPE_BYTES] = body[9..29].try_into().expect("20 bytes");
            if body[8] == 1 {
                let key = open(&wrap, body[29..41].try_into().expect("12 bytes"), &scope, &body[41..89]);
                keys.insert(scope, key.expect("a wrapped key").try_into().expect("32 bytes"));
            }
        }
        Self(keys)
    }

    /// Salt and payload of a payload record; none if its key is gone.
    pub fn open(&self, index: u64, leaf: &[u8], codec: u8, record: &[u8]) -> Option<([u8; 32], Vec<u8>)> {
        if codec == 0 {
            let (salt, payload) = record.split_first_chunk::<32>().expect("a salt");
            return Some((*salt, payload.to_vec()));
        }
        assert_eq!(codec, 1, "codec of a payload record");
        let (kind, received) = {
            let leaf = Leaf::parse(leaf).expect("a leaf");
            (leaf.kind, leaf.received)
        };
        let statement = kind.stream == Stream::Device && matches!(kind.number, 1 | 2);
        let subject = match kind.stream {
            Stream::Device if statement => 68,
            Stream::Device => 16,
            _ => 0,
        };
        let (head, sealed) = record.split_at(2 + subject);
        let scope = match kind.stream {
            Stream::Device => {
                Scope::device(InstanceId::from_bytes(head[2..18].try_into().expect("16 bytes")), received)
            }
            stream => Scope::stream(stream, received),
        };
        let key = self.0.get(&scope.encode())?;
        let derive = |label: &[u8], rest: &[u8]| -> [u8; 32] {
            let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), &[label, rest].concat());
            tag.as_ref().try_into().expect("32 bytes")
        };
        let mut nonce = [0; 12];
        nonce[..8].copy_from_slice(&index.to_be_bytes());
        nonce[11] = head[1];
        let frame = open(&derive(b"seal", leaf), nonce, &[leaf, head].concat(), sealed);
        let frame = frame.expect("what was sealed opens");
        let dictionary: &[u8] = match head[0] {
            0 => &[],
            1 => include_bytes!("../../collector/dictionaries/1.zdict"),
            other => panic!("dictionary {other}"),
        };
        let mut decompressor = zstd::bulk::Decompressor::with_dictionary(dictionary).expect("a dictionary");
        let payload = decompressor.decompress(&frame, PAYLOAD_MAX).expect("a frame");
        Some((derive(b"salt", &index.to_be_bytes()), payload))
    }
}

fn open(key: &[u8], nonce: [u8; 12], bound: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
    let key = LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, key).expect("32 bytes"));
    let mut bytes = sealed.to_vec();
    let opened = key.open_in_place(Nonce::assume_unique_for_key(nonce), Aad::from(bound), &mut bytes).ok()?;
    Some(opened.to_vec())
}
