use super::*;
use certs::test_pki::{TestPki, random};
use certs::{Subject, TlsKey};
use evidence::ids::DeviceId;
use proptest::prelude::*;

const NOW: Timestamp = Timestamp(1_800_000_000_000);

fn life() -> CertificateLife {
    let pki = TestPki::new("evidence.example.com", NOW);
    let key = TlsKey::generate().unwrap();
    let issued = pki.issue(&Subject::Agent(DeviceId::from_bytes(random())), key.public());
    CertificateLife::read(&issued.certificate).unwrap()
}

#[test]
fn a_renewal_is_due_by_the_certificate_sooner_when_asked_and_later_after_a_failure() {
    let life = life();
    let mut schedule = Schedule::default();
    assert_eq!(schedule.due(&life, NOW), life.renewal_due());
    schedule.ask(NOW, 10, 7_500);
    assert_eq!(schedule.due(&life, NOW), Timestamp(NOW.ms() + 7_500));
    schedule.failed(NOW, 29_999);
    assert_eq!(schedule.due(&life, NOW), Timestamp(NOW.ms() + 30_999));
    // A clock that was set back by a year.
    let back = Timestamp(NOW.ms() - 365 * 86_400_000);
    assert_eq!(schedule.due(&life, back), Timestamp(NOW.ms() + 7_500));
    schedule.done();
    assert_eq!(schedule.due(&life, NOW), life.renewal_due());
}

#[test]
fn only_alerts_about_the_certificate_lead_to_a_recovery() {
    use rustls::AlertDescription as Alert;
    let wrapped = |alert| std::io::Error::other(rustls::Error::AlertReceived(alert));
    for alert in [Alert::CertificateExpired, Alert::UnknownCA, Alert::BadCertificate] {
        assert!(refuses_certificate(&wrapped(alert)), "{alert:?}");
    }
    for alert in [Alert::CertificateRevoked, Alert::InternalError, Alert::CloseNotify] {
        assert!(!refuses_certificate(&wrapped(alert)), "{alert:?}");
    }
    // As h2 hands it on.
    let text = wrapped(Alert::UnknownCA).to_string();
    assert!(refuses_certificate(&std::io::Error::new(std::io::ErrorKind::InvalidData, text)));
    assert!(!refuses_certificate(&std::io::Error::other("connection refused")));
}

proptest! {
    #[test]
    fn every_wait_after_a_failure_is_within_an_hour(failures in 1..40_u32, random in any::<u64>()) {
        let (life, mut schedule) = (life(), Schedule::default());
        schedule.ask(NOW, 1, 0);
        for _ in 0..failures {
            schedule.failed(NOW, random);
        }
        let due = schedule.due(&life, NOW);
        prop_assert!(due.ms() >= NOW.ms() + 1000 || due == NOW);
        prop_assert!(due.ms() <= NOW.ms() + RETRY_MS_MAX + 1000);
    }
}
