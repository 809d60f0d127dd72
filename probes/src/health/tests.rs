//! The vendors' answers: samples rewritten from fixtures and documents named in design notes, and what breaks them.

use super::*;

fn read(command: HealthCommand, platform: Platform, text: &str) -> Health {
    command.read(platform, &Answer::Output { status: 0, stdout: text.as_bytes().to_vec(), stderr: vec![] })
}

/// What it concludes on Linux: whether it is effective, and why not.
fn linux(command: HealthCommand, text: &str) -> (Option<bool>, Impairment) {
    let health = read(command, Platform::Linux, text);
    (health.effective, health.impairment)
}

fn macos(command: HealthCommand, text: &str) -> (Option<bool>, Impairment) {
    let health = read(command, Platform::Macos, text);
    (health.effective, health.impairment)
}

const WELL: (Option<bool>, Impairment) = (Some(true), Impairment::Unspecified);
const UNKNOWN: (Option<bool>, Impairment) = (None, Impairment::Unspecified);

fn ill(impairment: Impairment) -> (Option<bool>, Impairment) {
    (Some(false), impairment)
}

#[test]
fn a_sensor_that_has_not_told_is_not_healthy() {
    use HealthCommand::Falconctl;
    let well = "cid=\"ac91***\", aid=\"0f3b\", rfm-state=false, version = 7.18.17106.0.\n";
    assert_eq!(linux(Falconctl, well), WELL);
    assert_eq!(linux(Falconctl, &well.replace("false", "true")), ill(Impairment::Reduced));
    assert_eq!(linux(Falconctl, &well.replace("rfm-state=false", "rfm-state is not set")), UNKNOWN);
    assert_eq!(
        linux(Falconctl, &well.replace("aid=\"0f3b\"", "aid is not set")),
        ill(Impairment::NotRegistered)
    );
    assert_eq!(linux(Falconctl, &well.replace("cid=\"ac91***\", ", "")), UNKNOWN);
    assert_eq!(linux(Falconctl, &well.replace("false", "False")), UNKNOWN);
    assert_eq!(linux(Falconctl, &well.replace("false", "false, rfm-state=true")), UNKNOWN);
    assert_eq!(linux(Falconctl, well.trim_end()), UNKNOWN);
    assert_eq!(linux(Falconctl, &well.replace(", ", ",\n")), WELL);
    assert_eq!(linux(Falconctl, ""), UNKNOWN);
    let health = read(Falconctl, Platform::Linux, well);
    assert_eq!(health.attached, Some(true));
}

#[test]
fn the_sensor_of_a_mac_is_operational_or_not() {
    use HealthCommand::Falconctl;
    let well = "=== agent_info ===\nversion: 7.39.21104.0\nagentID: 1230BD01\ncustomerID: EFB874A1\nSensor operational: true\n";
    assert_eq!(macos(Falconctl, well), WELL);
    assert_eq!(macos(Falconctl, &well.replace("true", "false")), ill(Impairment::Reduced));
    assert_eq!(macos(Falconctl, &format!("{well}Sensor status: loaded\n")), WELL);
    assert_eq!(macos(Falconctl, &format!("{well}Sensor status: resting\n")), UNKNOWN);
    assert_eq!(macos(Falconctl, &well.replace("=== agent_info ===\n", "")), UNKNOWN);
    assert_eq!(macos(Falconctl, &well.replace("Sensor operational: true\n", "")), UNKNOWN);
    // What Linux prints is no answer on a Mac.
    assert_eq!(macos(Falconctl, "cid=\"a\", aid=\"b\", rfm-state=false.\n"), UNKNOWN);
}

fn mdatp(passive: bool, real_time: bool, healthy: bool) -> String {
    format!(
        "{{\"definitionsStatus\":{{\"$type\":\"upToDate\"}},\"definitionsUpdated\":\"1796000000000\",\
         \"fullDiskAccessEnabled\":true,\"healthy\":{healthy},\"licensed\":true,\
         \"passiveModeEnabled\":{{\"displayValue\":true,\"value\":{passive}}},\
         \"realTimeProtectionEnabled\":{{\"displayValue\":true,\"value\":{real_time}}},\
         \"realTimeProtectionSubsystem\":\"fanotify\"}}"
    )
}

#[test]
fn healthy_and_passive_is_not_effective() {
    use HealthCommand::Mdatp;
    assert_eq!(linux(Mdatp, &mdatp(false, true, true)), WELL);
    assert_eq!(linux(Mdatp, &mdatp(true, false, true)), ill(Impairment::Passive));
    assert_eq!(linux(Mdatp, &mdatp(false, false, true)), ill(Impairment::Disabled));
    assert_eq!(linux(Mdatp, &mdatp(false, true, false)), ill(Impairment::Unhealthy));
    let text = mdatp(false, true, true);
    assert_eq!(linux(Mdatp, &text.replace("upToDate", "outOfDate")), ill(Impairment::Outdated));
    assert_eq!(linux(Mdatp, &text.replace("upToDate", "soon")), UNKNOWN);
    assert_eq!(
        linux(Mdatp, &text.replace("\"licensed\":true", "\"licensed\":false")),
        ill(Impairment::NotRegistered)
    );
    assert_eq!(linux(Mdatp, &text.replace("\"value\":false", "\"value\":\"false\"")), UNKNOWN);
    assert_eq!(linux(Mdatp, text.get(..text.len() - 1).unwrap()), UNKNOWN);
    let no_access = text.replace("\"fullDiskAccessEnabled\":true", "\"fullDiskAccessEnabled\":false");
    assert_eq!(macos(Mdatp, &no_access), ill(Impairment::MissingPermission));
    assert_eq!(linux(Mdatp, &no_access), WELL);
    let health = read(Mdatp, Platform::Linux, &text);
    assert_eq!(health.definitions_minutes, Some(1_796_000_000 / 60));
    assert_eq!((health.passive, health.attached), (Some(false), Some(true)));
    assert_eq!(read(Mdatp, Platform::Linux, &mdatp(true, false, true)).attached, None);
}

#[test]
fn an_agent_without_one_of_its_processes_is_partial() {
    use HealthCommand::Sentinelctl;
    let well = "Agent state      Enabled\n\nProcess Name     PID\norchestrator     901\nnetwork          902\n\
                scanner          903\nagent            904\nfirewall         905\n";
    assert_eq!(linux(Sentinelctl, well), WELL);
    assert_eq!(linux(Sentinelctl, &well.replace("Enabled", "Disabled")), ill(Impairment::Disabled));
    assert_eq!(linux(Sentinelctl, &well.replace("scanner          903\n", "")), ill(Impairment::Partial));
    assert_eq!(linux(Sentinelctl, &well.replace("903", "-")), ill(Impairment::Partial));
    assert_eq!(linux(Sentinelctl, &well.replace("Agent state      Enabled\n", "")), UNKNOWN);
    assert_eq!(linux(Sentinelctl, "Agent state      Enabled\n"), UNKNOWN);
}

const SENTINEL_MAC: &str = "\
Agent
   Version:                           23.4.1.7125
   Missing Authorizations:            \n   ES Framework:                      started
   Agent Operational State:           enabled
   Network Extension:                 running
   Ready:                             yes
   Protection:                        enabled
Daemons
   Services
      Guard:                          ready
   Integrity
      sentineld:                      ok
Management
   Connected:                         yes
";

#[test]
fn a_missing_authorisation_is_not_effective() {
    use HealthCommand::Sentinelctl;
    assert_eq!(macos(Sentinelctl, SENTINEL_MAC), WELL);
    let change = |from: &str, to: &str| macos(Sentinelctl, &SENTINEL_MAC.replace(from, to));
    assert_eq!(
        change("Authorizations:            \n", "Authorizations:            Full Disk Access\n"),
        ill(Impairment::MissingPermission)
    );
    // What stands on a line of its own belongs to something, so the rest is not believed.
    assert_eq!(
        change("Authorizations:            \n", "Authorizations:            \n      Full Disk Access\n"),
        UNKNOWN
    );
    assert_eq!(change("   ES Framework:                      started\n", ""), UNKNOWN);
    assert_eq!(change("      started", "      stopped"), ill(Impairment::NotAttached));
    assert_eq!(
        change("Connected:                         yes", "Connected: no"),
        ill(Impairment::Disconnected)
    );
    assert_eq!(change("      ok", "      not running"), ill(Impairment::Partial));
    assert_eq!(change("Protection:                        enabled", "Protection: an"), UNKNOWN);
}

#[test]
fn the_agent_alone_is_not_the_endpoint() {
    use HealthCommand::ElasticAgent;
    let status = |component: i32, unit: i32, name: &str| {
        format!(
            "{{\"state\":2,\"components\":[{{\"name\":\"filestream\",\"state\":2,\"units\":[{{\"state\":2}}]}},\
             {{\"id\":\"endpoint-default\",\"name\":\"{name}\",\"state\":{component},\"units\":[{{\"state\":{unit}}}]}}]}}"
        )
    };
    assert_eq!(linux(ElasticAgent, &status(2, 2, "endpoint")), WELL);
    assert_eq!(linux(ElasticAgent, &status(3, 2, "endpoint")), ill(Impairment::Unhealthy));
    assert_eq!(linux(ElasticAgent, &status(2, 4, "endpoint")), ill(Impairment::Partial));
    assert_eq!(linux(ElasticAgent, &status(1, 2, "endpoint")), UNKNOWN);
    assert_eq!(linux(ElasticAgent, &status(2, 2, "endpoint-x")), ill(Impairment::NotRegistered));
    assert_eq!(linux(ElasticAgent, "{}"), UNKNOWN);
    assert_eq!(
        linux(
            ElasticAgent,
            &status(2, 2, "endpoint").replace("\"units\":[{\"state\":2}]}]", "\"units\":[]}]")
        ),
        UNKNOWN
    );
}

#[test]
fn a_table_is_read_from_its_numbers_on() {
    use HealthCommand::Cytool;
    let well = "   Name   PID   User   Status   Command\n   pmd   1092   root   Running   /opt/traps/bin/pmd\n   clad   1716   cortexu+   Running   /opt/traps/analyzerd/clad\n\n";
    assert_eq!(linux(Cytool, well), WELL);
    assert_eq!(
        linux(Cytool, &well.replace("Running   /opt/traps/bin", "Stopped   /opt/traps/bin")),
        ill(Impairment::Partial)
    );
    assert_eq!(linux(Cytool, &well.replace("Running   /opt/traps/bin", "Laeuft   /opt/traps/bin")), UNKNOWN);
    assert_eq!(linux(Cytool, &well.replace("   pmd", "   pmd2")), ill(Impairment::Partial));
    assert_eq!(linux(Cytool, &well.replace("Name", "Nom")), UNKNOWN);
    let mac = "Name PID User Status Command\n cortex xdr 1055 User1 Running /a b/cortex xdr\n authorized 927 _traps Running /b\n pmd 909 root Running /c\n kproc-ctrl 159 root Loaded d\n";
    assert_eq!(macos(Cytool, mac), WELL);
    assert_eq!(
        macos(Cytool, &mac.replace(" kproc-ctrl 159 root Loaded d\n", "")),
        ill(Impairment::NotAttached)
    );
}

#[test]
fn only_the_exact_key_of_the_agent_counts() {
    use HealthCommand::DsaQuery;
    let index = "AgentStatus.1: agentState\nAgentStatus.2: dsmUrl\n";
    assert_eq!(linux(DsaQuery, &format!("{index}AgentStatus.agentState: green\n")), WELL);
    assert_eq!(linux(DsaQuery, &format!("{index}AgentStatus.agentState: red\n")), ill(Impairment::Unhealthy));
    assert_eq!(linux(DsaQuery, &format!("{index}AgentStatus.agentState: greenish\n")), UNKNOWN);
    assert_eq!(linux(DsaQuery, &index.replace("agentState", "agentState: green")), UNKNOWN);
    assert_eq!(linux(DsaQuery, index), UNKNOWN);
}

#[test]
fn lines_of_other_vendors() {
    use HealthCommand::{Ampcli, Bduitool, Repcli};
    let cisco = "[logger] Set minimum reported log level to notice\nStatus:         Connected\nMode:           Normal\nFaults:         None\n";
    assert_eq!(linux(Ampcli, cisco), WELL);
    assert_eq!(linux(Ampcli, &cisco.replace("Connected", "Offline")), ill(Impairment::Disconnected));
    assert_eq!(linux(Ampcli, &cisco.replace("None", "1 Critical")), ill(Impairment::Unhealthy));
    assert_eq!(linux(Ampcli, &cisco.replace("Faults:         None\n", "")), UNKNOWN);

    let bitdefender = "Product version: 7.0.3\nLast security content update: 2026-11-30 at 11:44:37 GMT+2\nFeatures:\n  - Antimalware status: On\n  - NetworkMonitor status: On\n";
    assert_eq!(linux(Bduitool, bitdefender), WELL);
    assert_eq!(
        linux(Bduitool, &bitdefender.replace("malware status: On", "malware status: Off")),
        ill(Impairment::Disabled)
    );
    assert_eq!(linux(Bduitool, &bitdefender.replace("malware status: On", "malware status: Ein")), UNKNOWN);
    let minute = |text: &str| read(Bduitool, Platform::Linux, text).definitions_minutes;
    // 2026-11-30 09:44 UTC.
    assert_eq!(minute(bitdefender), Some(1_796_031_840 / 60));
    assert_eq!(
        minute(&bitdefender.replace("GMT+2", "GMT-3:30")),
        Some(1_796_031_840 / 60 + 2 * 60 + 3 * 60 + 30)
    );
    assert_eq!(minute(&bitdefender.replace("2026-11-30", "30.11.2026")), None);
    assert_eq!(minute(&bitdefender.replace("11:44:37", "25:44:37")), None);

    let black = "General Info:\n\tSensor Version: 2.14\nSensor Status:\n\tState: Enabled\n\tDetails:\n\t\tLiveResponse:NoSession\n\t\tLiveResponse:Enabled\nCloud Status:\n\tRegistered: Yes\n";
    assert_eq!(linux(Repcli, black), WELL);
    assert_eq!(linux(Repcli, &black.replace("State: Enabled", "State: Bypass")), ill(Impairment::Disabled));
    assert_eq!(
        read(Repcli, Platform::Linux, &black.replace("State: Enabled", "State: Bypass")).passive,
        Some(true)
    );
    assert_eq!(
        linux(Repcli, &black.replace("Registered: Yes", "Registered: No")),
        ill(Impairment::NotRegistered)
    );
    assert_eq!(linux(Repcli, &black.replace("\tState: Enabled\n", "")), UNKNOWN);
    let mac = black
        .replace("Sensor Status", "Sensor State")
        .replace('\t', "    ")
        .replace("Sensor Version: 2.14\n", "Kernel File Filter: Connected\n    System Extension: Running\n");
    assert_eq!(macos(Repcli, &mac), UNKNOWN);
    let access =
        |state: &str| mac.replace("Details:\n", &format!("Details:\n        FullDiskAccess:{state}\n"));
    assert_eq!(macos(Repcli, &access("Enabled")), WELL);
    assert_eq!(macos(Repcli, &access("NotEnabled")), ill(Impairment::MissingPermission));
}

#[test]
fn a_moment_of_windows_is_a_minute() {
    assert_eq!(minutes_of_cim("20261130081500.000000+060"), Some(1_796_022_900 / 60));
    assert_eq!(minutes_of_cim("20261130061500.000000-060"), Some(1_796_022_900 / 60));
    assert_eq!(minutes_of_cim("19700101000000.000000+000"), Some(0));
    assert_eq!(minutes_of_cim("20240229120000.000000+000"), Some(1_709_208_000 / 60));
    for bad in [
        "",
        "20261130081500",
        "20261330081500.000000+060",
        "20261130081500.000000*060",
        "2026113008150é.000000+060",
        "19700101000000.000000+060",
        "20261130081500.000000+06",
    ] {
        assert_eq!(minutes_of_cim(bad), None, "{bad}");
    }
}

#[test]
fn a_program_that_failed_says_nothing() {
    for status in [1, 256 + 9] {
        let answer = Answer::Output { status, stdout: mdatp(false, true, true).into_bytes(), stderr: vec![] };
        assert_eq!(HealthCommand::Mdatp.read(Platform::Linux, &answer), Health::default());
    }
    for answer in [Answer::Absent, Answer::Denied, Answer::TimedOut, Answer::TooLarge, Answer::Failed] {
        assert_eq!(HealthCommand::DsaQuery.read(Platform::Linux, &answer), Health::default());
    }
}
