"""The messages of proto/tallystick/v1/evidence.proto as a table.

A field is (number, name, type, label). Types: bytes text u32 u64 bool, the name of an enum in ENUMS or of a
message in MESSAGES. Labels: `plain` (proto3, default not written), `optional`, `repeated`, or `oneof NAME`.
"""


def _names(prefix, *names):
    return {n: (prefix + name).lower() for n, name in enumerate(names)}


ENUMS = {
    "Trigger": _names("", "UNSPECIFIED", "SCHEDULE", "DRIFT", "MANUAL"),
    "AssetClass": _names("", "UNSPECIFIED", "LAPTOP", "DESKTOP", "SERVER", "VM", "CONTAINER"),
    "GapKind": _names("", "UNSPECIFIED", "NOT_MADE", "DESTROYED"),
    "GapReason": _names("", "UNSPECIFIED", "SPOOL_FULL", "DISK_FULL", "READ_ONLY", "DISK_DAMAGE"),
    "Reason": _names(
        "", "UNSPECIFIED", "NO_PRIVILEGE", "TOOL_MISSING", "TIMEOUT", "UNPARSED_OUTPUT", "NO_SESSION",
        "UNSUPPORTED_PLATFORM", "CONTAINER", "TOO_LARGE", "TOO_MANY_ROUNDS", "STALE", "UNSUPPORTED_DESKTOP",
        "IO_ERROR",
    ),
    "VolumePurpose": _names("", "UNSPECIFIED", "ROOT", "HOME", "DATA", "SWAP", "BOOT", "EFI"),
    "Coverage": _names("", "UNSPECIFIED", "NONE", "PARTIAL", "FULL", "MEMORY"),
    "Layer": _names(
        "", "UNSPECIFIED", "LUKS1", "LUKS2", "PLAIN", "TCRYPT", "BITLK", "VERITY", "INTEGRITY", "LVM", "RAID",
        "MULTIPATH", "LOOP", "PARTITION", "DISK", "ZRAM", "OTHER",
    ),
    "LockScope": _names("", "UNSPECIFIED", "SESSION", "SYSTEM_DEFAULT"),
    "ProductKind": _names("", "UNSPECIFIED", "EDR", "AV", "TELEMETRY", "PLATFORM"),
    "FilterScope": _names("", "UNSPECIFIED", "IPV4", "IPV6", "DOMAIN", "PRIVATE", "PUBLIC", "APPLICATION"),
    "FilterDefault": _names("", "UNSPECIFIED", "BLOCK", "ALLOW"),
    "Firmware": _names("", "UNSPECIFIED", "UEFI", "BIOS", "APPLE"),
    "BootSecurity": _names("", "UNSPECIFIED", "FULL", "REDUCED", "PERMISSIVE"),
    "IdentifierKind": _names(
        "", "UNSPECIFIED", "MACHINE_ID", "HARDWARE_UUID", "SYSTEM_SERIAL", "BOARD_SERIAL", "MAC_ADDRESS", "HOSTNAME",
        "VENDOR",
    ),
    "RootLogin": _names("", "UNSPECIFIED", "NO", "COMMANDS_ONLY", "KEYS_ONLY", "YES"),
}

MESSAGES = {
    "Envelope": [
        (1, "payload", "bytes", "plain"),
        (2, "keyid", "bytes", "plain"),
        (3, "sig", "bytes", "plain"),
    ],
    "Statement": [
        (1, "instance", "bytes", "plain"),
        (2, "sequence", "u64", "plain"),
        (3, "previous", "bytes", "plain"),
        (4, "anchor", "Anchor", "optional"),
        (5, "attestation", "Attestation", "oneof body"),
        (6, "gap", "Gap", "oneof body"),
    ],
    "Anchor": [
        (1, "origin", "text", "plain"),
        (2, "size", "u64", "plain"),
        (3, "root", "bytes", "plain"),
        (4, "note", "bytes", "plain"),
    ],
    "Attestation": [
        (1, "device", "text", "plain"),
        (2, "boot", "bytes", "plain"),
        (3, "boot_minutes", "u64", "plain"),
        (4, "wall_minutes", "u64", "plain"),
        (5, "trigger", "Trigger", "plain"),
        (6, "agent_version", "text", "plain"),
        (7, "agent_digest", "bytes", "plain"),
        (8, "catalogue_digest", "bytes", "plain"),
        (9, "configuration_digest", "bytes", "plain"),
        (10, "asset", "AssetClaim", "optional"),
        (11, "answers_digest", "bytes", "plain"),
        (12, "observations", "Observation", "repeated"),
    ],
    "AssetClaim": [
        (1, "class", "AssetClass", "plain"),
        (2, "chassis_type", "u32", "optional"),
        (3, "battery", "bool", "optional"),
        (4, "graphical_target", "bool", "optional"),
        (5, "virtualisation", "text", "optional"),
    ],
    "Gap": [
        (1, "kind", "GapKind", "plain"),
        (2, "reason", "GapReason", "plain"),
        (3, "first", "u64", "plain"),
        (4, "last", "u64", "plain"),
        (5, "count", "u64", "plain"),
    ],
    "Observation": [
        (1, "control", "text", "plain"),
        (2, "probe_version", "u32", "plain"),
        (3, "observed", "Facts", "oneof outcome"),
        (4, "not_applicable", "NotApplicable", "oneof outcome"),
        (5, "unavailable", "Unavailable", "oneof outcome"),
    ],
    "Facts": [
        (1, "disk_encryption", "DiskEncryption", "oneof control"),
        (2, "os_patch", "OsPatch", "oneof control"),
        (3, "screen_lock", "ScreenLock", "oneof control"),
        (4, "edr", "Edr", "oneof control"),
        (5, "host_firewall", "HostFirewall", "oneof control"),
        (6, "automatic_updates", "AutomaticUpdates", "oneof control"),
        (7, "time_sync", "TimeSync", "oneof control"),
        (8, "secure_boot", "SecureBoot", "oneof control"),
        (9, "remote_access", "RemoteAccess", "oneof control"),
        (10, "local_administrators", "LocalAdministrators", "oneof control"),
        (11, "password_manager", "PasswordManager", "oneof control"),
        (12, "mdm_enrolment", "MdmEnrolment", "oneof control"),
        (13, "device_identity", "DeviceIdentity", "oneof control"),
    ],
    "NotApplicable": [(1, "headless", "Headless", "oneof proof")],
    "Headless": [
        (1, "default_target", "text", "plain"),
        (2, "display_manager", "bool", "plain"),
        (3, "graphical_sessions", "u32", "plain"),
        (4, "desktop_installed", "bool", "plain"),
    ],
    "Unavailable": [
        (1, "reason", "Reason", "plain"),
        (2, "question", "text", "plain"),
    ],
    "DiskEncryption": [
        (1, "volumes", "Volume", "repeated"),
        (2, "volumes_truncated", "bool", "plain"),
    ],
    "Volume": [
        (1, "purpose", "VolumePurpose", "plain"),
        (2, "mount", "text", "plain"),
        (3, "filesystem", "text", "plain"),
        (4, "encryption", "Coverage", "plain"),
        (5, "leaves", "u32", "plain"),
        (6, "leaves_encrypted", "u32", "plain"),
        (7, "layers", "Layer", "repeated"),
        (8, "removable", "bool", "optional"),
        (9, "virtual_disk", "bool", "optional"),
    ],
    "OsPatch": [
        (1, "os", "text", "plain"),
        (2, "version", "text", "optional"),
        (3, "kernel", "text", "plain"),
        (4, "pending_security", "u32", "optional"),
        (5, "pending_other", "u32", "optional"),
        (6, "lists_minutes", "u64", "optional"),
        (7, "installed_minutes", "u64", "optional"),
        (8, "reboot_required", "bool", "optional"),
    ],
    "ScreenLock": [
        (1, "users", "LockSetting", "repeated"),
        (2, "users_truncated", "bool", "plain"),
    ],
    "LockSetting": [
        (1, "desktop", "text", "plain"),
        (2, "scope", "LockScope", "plain"),
        (3, "enabled", "bool", "optional"),
        (4, "idle_seconds", "u32", "optional"),
        (5, "delay_seconds", "u32", "optional"),
        (6, "enforced", "bool", "optional"),
    ],
    "Edr": [
        (1, "products", "Product", "repeated"),
        (2, "products_truncated", "bool", "plain"),
    ],
    "Product": [
        (1, "product", "text", "plain"),
        (2, "kind", "ProductKind", "plain"),
        (3, "installed", "bool", "optional"),
        (4, "version", "text", "optional"),
        (5, "running", "bool", "optional"),
        (6, "trusted_path", "bool", "optional"),
        (7, "unit_active", "bool", "optional"),
    ],
    "HostFirewall": [
        (1, "filters", "FirewallFilter", "repeated"),
        (2, "filters_truncated", "bool", "plain"),
    ],
    "FirewallFilter": [
        (1, "scope", "FilterScope", "plain"),
        (2, "enabled", "bool", "optional"),
        (3, "incoming", "FilterDefault", "plain"),
        (4, "open_interfaces", "u32", "optional"),
    ],
    "AutomaticUpdates": [
        (1, "mechanism", "text", "plain"),
        (2, "downloads", "bool", "optional"),
        (3, "installs_security", "bool", "optional"),
        (4, "scheduled", "bool", "optional"),
    ],
    "TimeSync": [
        (1, "service", "text", "plain"),
        (2, "enabled", "bool", "optional"),
        (3, "synchronised", "bool", "optional"),
        (4, "synchronised_minutes", "u64", "optional"),
    ],
    "SecureBoot": [
        (1, "firmware", "Firmware", "plain"),
        (2, "enabled", "bool", "optional"),
        (3, "setup_mode", "bool", "optional"),
        (4, "shim_disabled", "bool", "optional"),
        (5, "level", "BootSecurity", "plain"),
        (6, "tpm_version", "u32", "optional"),
    ],
    "RemoteAccess": [
        (1, "ssh_server", "bool", "optional"),
        (2, "root_login", "RootLogin", "plain"),
        (3, "password_login", "bool", "optional"),
        (4, "keyboard_interactive", "bool", "optional"),
        (5, "remote_desktop", "bool", "optional"),
        (6, "network_authentication", "bool", "optional"),
    ],
    "LocalAdministrators": [
        (1, "administrators", "u32", "optional"),
        (2, "administrators_seen", "u32", "optional"),
        (3, "directory_groups", "u32", "optional"),
        (4, "other_root_accounts", "u32", "optional"),
        (5, "passwordless_rules", "u32", "optional"),
        (6, "limited_rules", "u32", "optional"),
        (7, "built_in_enabled", "bool", "optional"),
    ],
    "PasswordManager": [
        (1, "installed", "bool", "optional"),
        (2, "managers", "ManagerProduct", "repeated"),
        (3, "managers_truncated", "bool", "plain"),
    ],
    "ManagerProduct": [
        (1, "product", "text", "plain"),
        (2, "installed", "bool", "optional"),
    ],
    "MdmEnrolment": [
        (1, "enrolled", "bool", "optional"),
        (2, "user_approved", "bool", "optional"),
        (3, "automated", "bool", "optional"),
        (4, "service", "text", "plain"),
        (5, "directory_joined", "bool", "optional"),
    ],
    "DeviceIdentity": [
        (1, "identifiers", "Identifier", "repeated"),
        (2, "identifiers_truncated", "bool", "plain"),
    ],
    "Identifier": [
        (1, "kind", "IdentifierKind", "plain"),
        (2, "value", "text", "plain"),
        (3, "placeholder", "bool", "optional"),
    ],
}

# Control -> (member of Facts, its message); docs/FORMAT.md section 9.
CONTROLS = {
    "automatic-updates": ("automatic_updates", "AutomaticUpdates"),
    "device-identity": ("device_identity", "DeviceIdentity"),
    "disk-encryption": ("disk_encryption", "DiskEncryption"),
    "edr": ("edr", "Edr"),
    "host-firewall": ("host_firewall", "HostFirewall"),
    "local-administrators": ("local_administrators", "LocalAdministrators"),
    "mdm-enrolment": ("mdm_enrolment", "MdmEnrolment"),
    "os-patch": ("os_patch", "OsPatch"),
    "password-manager": ("password_manager", "PasswordManager"),
    "remote-access": ("remote_access", "RemoteAccess"),
    "screen-lock": ("screen_lock", "ScreenLock"),
    "secure-boot": ("secure_boot", "SecureBoot"),
    "time-sync": ("time_sync", "TimeSync"),
}
