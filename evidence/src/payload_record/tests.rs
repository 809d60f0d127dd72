use proptest::prelude::*;

use super::*;

fn subject(kind: Kind, sequence: u64, minute: Option<u64>) -> Subject {
    let instance = InstanceId::from_bytes([9; 16]);
    match (kind.stream, kind) {
        (Stream::Device, Kind::ATTESTATION | Kind::GAP) => {
            Subject::statement(instance, sequence, 12, minute, Digest([4; 32]))
        }
        (Stream::Device, _) => Subject::Device(instance),
        _ => Subject::Stream,
    }
}

fn kinds() -> impl Strategy<Value = Kind> {
    prop_oneof![
        Just(Kind::ATTESTATION),
        Just(Kind::GAP),
        Just(Kind::DEVICE_DETAIL),
        Just(Kind::POLICY),
        Just(Kind::TOMBSTONE)
    ]
}

proptest! {
    #[test]
    fn an_erased_record_says_whose_it_was_and_nothing_else_has_its_form(
        kind in kinds(), tombstone in any::<u64>(), sequence in any::<u64>(), minute in prop::option::of(any::<u64>()),
    ) {
        let subject = subject(kind, sequence, minute);
        let record = erased_record(tombstone, &subject);
        let read = Stored::parse(kind, CODEC_ERASED, &record);
        prop_assert_eq!(read, Ok(Stored::Erased { tombstone, subject }));
        prop_assert_eq!(read.unwrap().subject(kind), Some(subject));
        let longer = [&record[..], &[0]].concat();
        prop_assert!(Stored::parse(kind, CODEC_ERASED, &longer).is_err());
        prop_assert!(Stored::parse(kind, CODEC_ERASED, &record[..record.len() - 1]).is_err());
    }

    #[test]
    fn the_records_of_a_bundle_are_those_that_were_put_in(
        records in prop::collection::vec((any::<u8>(), prop::collection::vec(any::<u8>(), 0..40)), 0..20),
        cut in any::<prop::sample::Index>(),
    ) {
        let (mut bytes, mut ends) = (Vec::new(), vec![0]);
        for (codec, stored) in &records {
            push_record(&mut bytes, *codec, stored);
            ends.push(bytes.len());
        }
        let expected: Vec<(u8, &[u8])> = records.iter().map(|(codec, stored)| (*codec, stored.as_slice())).collect();
        prop_assert_eq!(parse_records(&bytes), Some(expected.clone()));
        let cut = cut.index(bytes.len() + 1);
        let whole = ends.iter().position(|end| *end == cut);
        prop_assert_eq!(parse_records(&bytes[..cut]), whole.map(|count| expected[..count].to_vec()));
    }
}

#[test]
fn a_bundle_lies_where_an_entry_bundle_would() {
    assert_eq!(full_bundle_path(0), "000");
    assert_eq!(full_bundle_path(1_234_067), "x001/x234/067");
    assert_eq!(bundle_path(1_005, 3), "x001/005.p/3");
    assert_eq!(bundle_path(0, 0), "", "no bundle is empty");
}
