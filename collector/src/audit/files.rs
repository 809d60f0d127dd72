//! The parts of a set that people read: decoded statements and VERIFY.md.

use evidence::envelope::Envelope;
use evidence::facts::{ASSET, Facts, control_of, schema};
use evidence::ids::Digest;
use evidence::json::{self, Value, object};
use evidence::leaf::Leaf;
use evidence::statement::{Body, Gap};
use proto::observation::Outcome;

/// A statement for people. Verifiers check the envelope, not this.
pub(super) fn view(envelope: &Envelope, leaf: &Leaf) -> Value {
    let Ok(statement) = envelope.claimed() else {
        return object([("problem", json::text("this envelope cannot be read"))]);
    };
    let body = match &statement.body {
        Body::Attestation(attestation) => object([
            ("device", json::text(attestation.device.to_string())),
            ("wall_time", json::text(attestation.wall().rfc3339())),
            ("boot_minutes", json::count(attestation.fields.boot_minutes)),
            ("trigger", json::text(attestation.fields.trigger().as_str_name())),
            ("agent_version", json::text(&attestation.fields.agent_version)),
            (
                "claimed_asset",
                attestation.fields.asset.as_ref().map(Facts::of_asset).unwrap_or_default().to_json(&ASSET),
            ),
            ("observations", Value::Array(attestation.fields.observations.iter().map(observation).collect())),
        ]),
        Body::Gap(gap) => gap_view(*gap),
    };
    object([
        ("instance", json::text(statement.instance.to_string())),
        ("sequence", json::count(statement.sequence)),
        ("previous", json::hex(&statement.previous)),
        ("anchor_size", json::count(statement.anchor.as_ref().map_or(0, |anchor| anchor.size))),
        ("received", json::text(leaf.received.rfc3339())),
        ("says", body),
    ])
}

fn gap_view(gap: Gap) -> Value {
    match gap {
        Gap::NotMade { first_minute, last_minute, count, reason } => object([
            ("gap", json::text("not made")),
            ("first_minute", json::count(first_minute)),
            ("last_minute", json::count(last_minute)),
            ("count", json::count(count)),
            ("reason", json::text(reason.as_str_name())),
        ]),
        Gap::Destroyed { first, last, reason } => object([
            ("gap", json::text("destroyed")),
            ("first_sequence", json::count(first)),
            ("last_sequence", json::count(last)),
            ("reason", json::text(reason.as_str_name())),
        ]),
    }
}

fn observation(observation: &proto::Observation) -> Value {
    let (outcome, detail) = match &observation.outcome {
        Some(Outcome::Observed(facts)) => {
            let known = control_of(facts).and_then(schema);
            let shown = known
                .map_or_else(|| json::text("unknown control"), |schema| Facts::of(facts).to_json(schema));
            ("observed", shown)
        }
        Some(Outcome::NotApplicable(proof)) => match &proof.proof {
            Some(proto::not_applicable::Proof::Headless(headless)) => (
                "not applicable",
                object([
                    ("default_target", json::text(&headless.default_target)),
                    ("display_manager", json::count(headless.display_manager.into())),
                    ("graphical_sessions", json::count(headless.graphical_sessions.into())),
                    ("desktop_installed", json::count(headless.desktop_installed.into())),
                ]),
            ),
            None => ("not applicable", json::text("without proof")),
        },
        Some(Outcome::Unavailable(unavailable)) => (
            "unavailable",
            object([
                ("reason", json::text(unavailable.reason().as_str_name())),
                ("question", json::text(&unavailable.question)),
            ]),
        ),
        None => ("missing", json::text("")),
    };
    object([
        ("control", json::text(&observation.control)),
        ("outcome", json::text(outcome)),
        ("facts", detail),
    ])
}

/// VERIFY.md. Its first line says what no set may make a reader forget.
pub(super) fn verify_md(origin: &str, plan_hash: &Digest, size: u64, witnesses: &str, blind: bool) -> String {
    let blind = if blind {
        "- The operator accepts rollback blindness: nothing outside its machine remembers this log.\n"
    } else {
        ""
    };
    format!(
        "Use a verifier and a trust file that you got before this set existed; neither comes with it.\n\
         \n\
         # Sampling set of {origin}\n\
         \n\
         - Plan {plan_hash}, checkpoint of {size} entries.\n\
         - witnesses: {witnesses}\n\
         - Keys: K0 (software key files). Claims: C0 (self-reported by the devices).\n\
         - No second source (HR, MDM, identity provider) was reconciled with the roster.\n\
         {blind}\
         \n\
         Check it offline:\n\
         \n\
         \x20   tallystick-verify THIS-FOLDER --trust trust.json\n\
         \n\
         or with any verifier written from docs/FORMAT.md. Every check is numbered there.\n"
    )
}
