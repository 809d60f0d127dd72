use certs::test_pki::TestPki;
use certs::{Peer, Population, Role, Serial};
use evidence::ids::{DeviceId, PersonId};
use evidence::time::Timestamp;

use super::Lists;
use crate::denylist::{Denied, Denylist, Holder};

const NOW: Timestamp = Timestamp(1_800_000_000_000);
/// Certificates of the test authority hold for an hour.
const LATER: Timestamp = Timestamp(NOW.0 + 2 * 3_600_000);

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("issued")).unwrap();
    folder
}

fn denying(holders: &[Holder]) -> Denylist {
    let list = Denylist::default();
    for (index, holder) in (7..).zip(holders) {
        list.deny(*holder, Denied { index, since: NOW });
    }
    list
}

#[test]
fn every_certificate_of_whoever_is_revoked_is_listed_until_it_ends() {
    let (pki, folder) = (TestPki::new("evidence.example.com", NOW), folder());
    let lists = Lists::open(folder.path(), &pki.trust_domain, NOW).unwrap();
    let (device, person) = (DeviceId::from_bytes([1; 16]), PersonId::from_bytes([2; 16]));
    let mut serials: Vec<Serial> = Vec::new();
    for _ in 0..3 {
        let (identity, serial) = pki.agent(device);
        lists.keep(&identity.chain[0], NOW).unwrap();
        serials.push(serial);
    }
    let (of_person, persons_serial) = pki.person(Role::Auditor, person);
    lists.keep(&of_person.chain[0], NOW).unwrap();
    lists.keep(&pki.agent(DeviceId::from_bytes([3; 16])).0.chain[0], NOW).unwrap();
    let denylist = denying(&[Holder::Device(device), Holder::Person(person)]);
    let check = |lists: &Lists| {
        let found = |population| -> Vec<Serial> {
            lists.revoked(population, &denylist, NOW).iter().map(|revoked| revoked.serial).collect()
        };
        let mut agents = found(Population::Agents);
        agents.sort_by_key(|serial| *serial.as_bytes());
        let mut expected = serials.clone();
        expected.sort_by_key(|serial| *serial.as_bytes());
        assert_eq!(agents, expected);
        assert_eq!(found(Population::People), [persons_serial]);
        assert_eq!(found(Population::Servers), []);
    };
    check(&lists);
    // The same after a start, from the files.
    check(&Lists::open(folder.path(), &pki.trust_domain, NOW).unwrap());
    // Ended ones are left out; people's files go, a device's stay for its retry.
    let lists = Lists::open(folder.path(), &pki.trust_domain, LATER).unwrap();
    assert!(lists.revoked(Population::Agents, &denylist, LATER).is_empty());
    assert!(lists.revoked(Population::People, &denylist, LATER).is_empty());
    assert_eq!(std::fs::read_dir(folder.path().join("issued")).unwrap().count(), 4);
}

#[test]
fn numbers_only_grow_whatever_clock_and_file_say() {
    use certs::{Issuer as _, RevocationOrder};
    let (pki, folder) = (TestPki::new("evidence.example.com", NOW), folder());
    let open = || Lists::open(folder.path(), &pki.trust_domain, NOW).unwrap();
    let list = |number| {
        let order = RevocationOrder { number, now: NOW, revoked: &[] };
        pki.authorities.agents.revocation_list(&order).unwrap().der
    };
    let lists = open();
    assert_eq!(lists.next_number(Population::Agents, NOW), NOW.0);
    // The same moment, and a clock that was set back.
    assert_eq!(lists.next_number(Population::Agents, NOW), NOW.0 + 1);
    assert_eq!(lists.next_number(Population::Agents, Timestamp(5)), NOW.0 + 2);
    assert_eq!(lists.next_number(Population::People, Timestamp(5)), 5);
    // What was published by an earlier run, with a clock ahead of ours.
    lists.publish("agents", &list(NOW.0 + 1_000)).unwrap();
    assert_eq!(open().next_number(Population::Agents, NOW), NOW.0 + 1_001);
    // An older file and rubbish cost nothing: time goes on.
    lists.publish("agents", &list(3)).unwrap();
    assert_eq!(open().next_number(Population::Agents, NOW), NOW.0);
    lists.publish("agents", b"rubbish").unwrap();
    assert_eq!(open().next_number(Population::Agents, NOW), NOW.0);
}

#[test]
fn a_role_in_the_name_changes_nothing() {
    let id = PersonId::from_bytes([2; 16]);
    let holders = Role::ALL.map(|role| Holder::from(Peer::Person { role, id }));
    assert_eq!(holders, [Holder::Person(id); 3]);
}
