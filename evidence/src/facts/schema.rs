//! Names, kinds and enum values of every fact: what `policy put` checks a condition against.

/// The facts of a control, or of the items of one of its lists.
#[derive(Debug, PartialEq, Eq)]
pub struct Schema {
    /// How errors name it, for example `disk-encryption.volumes`.
    pub name: &'static str,
    /// Its facts and lists, in the order of the message.
    pub fields: &'static [Field],
}

/// One fact or list.
#[derive(Debug, PartialEq, Eq)]
pub struct Field {
    /// Its name in evidence.proto; `.` for an item that is itself a value.
    pub name: &'static str,
    /// What it holds.
    pub kind: Kind,
    /// Its meaning and unit in a few words, for error messages.
    pub hint: &'static str,
}

/// What a field holds.
#[derive(Debug, PartialEq, Eq)]
pub enum Kind {
    /// Any text.
    Text,
    /// An integer, 0 or more.
    Integer,
    /// `yes` or `no`.
    Flag,
    /// One of these names; the first is number 1 of the enum, number 0 is unknown.
    Choice(&'static [&'static str]),
    /// A list of items.
    List {
        /// The field of the message that says that rows were left out, where it has one.
        truncated: Option<&'static str>,
        /// The facts of an item.
        item: &'static Schema,
    },
}

impl Kind {
    /// The kind in words, for error messages.
    pub fn describe(&self) -> String {
        match self {
            Self::Text => "a text".to_owned(),
            Self::Integer => "an integer".to_owned(),
            Self::Flag => "yes or no".to_owned(),
            Self::Choice(names) => format!("one of {}", names.join(", ")),
            Self::List { .. } => "a list".to_owned(),
        }
    }
}

impl Schema {
    /// The field called `name`.
    pub fn field(&self, name: &str) -> Option<&'static Field> {
        self.fields.iter().find(|field| field.name == name)
    }

    /// The schema of the items of the list called `name`.
    pub fn item(&self, name: &str) -> Option<&'static Schema> {
        match self.field(name)?.kind {
            Kind::List { item, .. } => Some(item),
            _ => None,
        }
    }

    /// The names of all facts, or of all lists, for error messages.
    pub fn names(&self, lists: bool) -> String {
        let names: Vec<_> = self
            .fields
            .iter()
            .filter(|field| matches!(field.kind, Kind::List { .. }) == lists)
            .map(|field| field.name)
            .collect();
        if names.is_empty() { "none".to_owned() } else { names.join(", ") }
    }
}

const fn field(name: &'static str, kind: Kind, hint: &'static str) -> Field {
    Field { name, kind, hint }
}

pub(super) const ASSET_CLASSES: &[&str] = &["laptop", "desktop", "server", "vm", "container"];
pub(super) const PURPOSES: &[&str] = &["root", "home", "data", "swap", "boot", "efi"];
pub(super) const COVERAGES: &[&str] = &["none", "partial", "full", "memory"];
pub(super) const LAYERS: &[&str] = &[
    "luks1",
    "luks2",
    "plain",
    "tcrypt",
    "bitlk",
    "verity",
    "integrity",
    "lvm",
    "raid",
    "multipath",
    "loop",
    "partition",
    "disk",
    "zram",
    "other",
];
pub(super) const LOCK_SCOPES: &[&str] = &["session", "system_default"];
pub(super) const PRODUCT_KINDS: &[&str] = &["edr", "av", "telemetry", "platform"];
pub(super) const HEALTH_SOURCES: &[&str] = &["none", "system", "vendor"];
pub(super) const IMPAIRMENTS: &[&str] = &[
    "disabled",
    "passive",
    "reduced",
    "not_attached",
    "not_registered",
    "disconnected",
    "missing_permission",
    "outdated",
    "partial",
    "unhealthy",
];
pub(super) const FILTER_SCOPES: &[&str] = &["ipv4", "ipv6", "domain", "private", "public", "application"];
pub(super) const FILTER_DEFAULTS: &[&str] = &["block", "allow"];
pub(super) const FIRMWARES: &[&str] = &["uefi", "bios", "apple"];
pub(super) const BOOT_SECURITIES: &[&str] = &["full", "reduced", "permissive"];
pub(super) const IDENTIFIER_KINDS: &[&str] =
    &["machine_id", "hardware_uuid", "system_serial", "board_serial", "mac_address", "hostname", "vendor"];
pub(super) const ROOT_LOGINS: &[&str] = &["no", "commands_only", "keys_only", "yes"];

/// What a device claims to be and why. Not of a control: a policy cannot name it.
pub static ASSET: Schema = Schema {
    name: "asset",
    fields: &[
        field("class", Kind::Choice(ASSET_CLASSES), "what the device seems to be"),
        field("chassis_type", Kind::Integer, "SMBIOS chassis code"),
        field("battery", Kind::Flag, "a battery feeds it"),
        field("graphical_target", Kind::Flag, "the default boot target is graphical"),
        field("virtualisation", Kind::Text, "hypervisor or container kind, none on bare metal"),
    ],
};

static LAYER: Schema = Schema {
    name: "disk-encryption.volumes.layers",
    fields: &[field(super::ITEM, Kind::Choice(LAYERS), "a layer between the file system and its disks")],
};

static VOLUME: Schema = Schema {
    name: "disk-encryption.volumes",
    fields: &[
        field("purpose", Kind::Choice(PURPOSES), "what the volume is for"),
        field("mount", Kind::Text, "mount point"),
        field("filesystem", Kind::Text, "file system type"),
        field("encryption", Kind::Choice(COVERAGES), "how much of it is encrypted"),
        field("leaves", Kind::Integer, "physical devices reached"),
        field("leaves_encrypted", Kind::Integer, "of them, reached only through an encrypting layer"),
        field("layers", Kind::List { truncated: None, item: &LAYER }, "layers met"),
        field("removable", Kind::Flag, "a device that can be pulled out"),
        field("virtual_disk", Kind::Flag, "a hypervisor's disk"),
    ],
};

static DISK_ENCRYPTION: Schema = Schema {
    name: "disk-encryption",
    fields: &[field(
        "volumes",
        Kind::List { truncated: Some("volumes_truncated"), item: &VOLUME },
        "writable local mounts and swap areas",
    )],
};

static OS_PATCH: Schema = Schema {
    name: "os-patch",
    fields: &[
        field("os", Kind::Text, "ID of os-release"),
        field("version", Kind::Text, "VERSION_ID of os-release"),
        field("kernel", Kind::Text, "release of the running kernel"),
        field("pending_security", Kind::Integer, "security updates not installed, packages"),
        field("pending_other", Kind::Integer, "other updates not installed, packages"),
        field("lists_minutes", Kind::Integer, "minute since 1970 of the last refresh of the package lists"),
        field("installed_minutes", Kind::Integer, "minute since 1970 of the newest package change"),
        field("reboot_required", Kind::Flag, "an installed update waits for a restart"),
    ],
};

static LOCK_SETTING: Schema = Schema {
    name: "screen-lock.users",
    fields: &[
        field("desktop", Kind::Text, "desktop environment"),
        field("scope", Kind::Choice(LOCK_SCOPES), "a session, or the default of new ones"),
        field("enabled", Kind::Flag, "a password is asked after the screen blanks"),
        field("idle_seconds", Kind::Integer, "idle seconds until the screen blanks, 0 never"),
        field("delay_seconds", Kind::Integer, "seconds from blank to password"),
        field("enforced", Kind::Flag, "the user cannot change it"),
    ],
};

static SCREEN_LOCK: Schema = Schema {
    name: "screen-lock",
    fields: &[field(
        "users",
        Kind::List { truncated: Some("users_truncated"), item: &LOCK_SETTING },
        "local graphical sessions, or the system default",
    )],
};

static PRODUCT: Schema = Schema {
    name: "edr.products",
    fields: &[
        field("product", Kind::Text, "product id of the catalogue"),
        field("kind", Kind::Choice(PRODUCT_KINDS), "what the product is"),
        field("installed", Kind::Flag, "its files are there"),
        field("version", Kind::Text, "installed version"),
        field("running", Kind::Flag, "a process runs from its exact path"),
        field("trusted_path", Kind::Flag, "only root may write the executable and its folders"),
        field("unit_active", Kind::Flag, "its own service unit owns that process and is active"),
        field("attached", Kind::Flag, "the system says that its extension, driver or filter takes part"),
        field(
            "effective",
            Kind::Flag,
            "its health source says that it detects, and the system does not deny it",
        ),
        field("passive", Kind::Flag, "it only watches"),
        field("health_source", Kind::Choice(HEALTH_SOURCES), "what can be asked about its effect at all"),
        field("impairment", Kind::Choice(IMPAIRMENTS), "the first thing that makes it not effective"),
        field("definitions_minutes", Kind::Integer, "minute since 1970 of its newest definitions"),
        field("signed", Kind::Flag, "the code that runs bears its vendor's valid signature"),
    ],
};

static EDR: Schema = Schema {
    name: "edr",
    fields: &[field(
        "products",
        Kind::List { truncated: Some("products_truncated"), item: &PRODUCT },
        "products of the catalogue",
    )],
};

static FIREWALL_FILTER: Schema = Schema {
    name: "host-firewall.filters",
    fields: &[
        field("scope", Kind::Choice(FILTER_SCOPES), "the traffic it filters"),
        field("enabled", Kind::Flag, "something filters incoming traffic now"),
        field("incoming", Kind::Choice(FILTER_DEFAULTS), "what becomes of incoming traffic no rule names"),
        field("open_interfaces", Kind::Integer, "rules that let in everything from some interface"),
    ],
};

static HOST_FIREWALL: Schema = Schema {
    name: "host-firewall",
    fields: &[field(
        "filters",
        Kind::List { truncated: Some("filters_truncated"), item: &FIREWALL_FILTER },
        "what the system filters apart",
    )],
};

static AUTOMATIC_UPDATES: Schema = Schema {
    name: "automatic-updates",
    fields: &[
        field("mechanism", Kind::Text, "what would install updates"),
        field("downloads", Kind::Flag, "looks for updates by itself"),
        field("installs_security", Kind::Flag, "is set to install security updates without a person"),
        field("scheduled", Kind::Flag, "what starts it is active now"),
    ],
};

static TIME_SYNC: Schema = Schema {
    name: "time-sync",
    fields: &[
        field("service", Kind::Text, "the program that sets the clock"),
        field("enabled", Kind::Flag, "the system is set to synchronise"),
        field("synchronised", Kind::Flag, "the kernel holds the clock for synchronised now"),
        field("synchronised_minutes", Kind::Integer, "minute since 1970 of the last synchronisation"),
    ],
};

static SECURE_BOOT: Schema = Schema {
    name: "secure-boot",
    fields: &[
        field("firmware", Kind::Choice(FIRMWARES), "what started the system"),
        field("enabled", Kind::Flag, "the firmware's switch is on"),
        field("setup_mode", Kind::Flag, "no owner's key is enrolled, nothing is enforced"),
        field("shim_disabled", Kind::Flag, "the boot loader was told not to check what it starts"),
        field("level", Kind::Choice(BOOT_SECURITIES), "Apple's level of boot security"),
        field("tpm_version", Kind::Integer, "major version of the TPM, 0 without one"),
    ],
};

static REMOTE_ACCESS: Schema = Schema {
    name: "remote-access",
    fields: &[
        field("ssh_server", Kind::Flag, "a server for SSH is active or started by a connection"),
        field("root_login", Kind::Choice(ROOT_LOGINS), "how root may log in over SSH"),
        field("password_login", Kind::Flag, "SSH takes passwords"),
        field("keyboard_interactive", Kind::Flag, "SSH asks questions, as a rule for a password"),
        field("remote_desktop", Kind::Flag, "the system's own remote desktop is on"),
        field("network_authentication", Kind::Flag, "remote desktop asks who it is before it shows a screen"),
    ],
};

static LOCAL_ADMINISTRATORS: Schema = Schema {
    name: "local-administrators",
    fields: &[
        field("administrators", Kind::Integer, "accounts that may act as administrator, where all were seen"),
        field("administrators_seen", Kind::Integer, "how many of them were seen"),
        field("directory_groups", Kind::Integer, "groups of a directory with that right, not counted above"),
        field("other_root_accounts", Kind::Integer, "accounts other than root that have root's number"),
        field("passwordless_rules", Kind::Integer, "rules of sudo that ask for no password"),
        field("limited_rules", Kind::Integer, "rules of sudo that give some commands as root"),
        field("built_in_enabled", Kind::Flag, "Windows' own Administrator can log in"),
    ],
};

static MANAGER_PRODUCT: Schema = Schema {
    name: "password-manager.managers",
    fields: &[
        field("product", Kind::Text, "product id of the catalogue"),
        field("installed", Kind::Flag, "it is installed"),
    ],
};

static PASSWORD_MANAGER: Schema = Schema {
    name: "password-manager",
    fields: &[
        field("installed", Kind::Flag, "some product of the catalogue is installed"),
        field(
            "managers",
            Kind::List { truncated: Some("managers_truncated"), item: &MANAGER_PRODUCT },
            "products found, or that could not be looked for",
        ),
    ],
};

static MDM_ENROLMENT: Schema = Schema {
    name: "mdm-enrolment",
    fields: &[
        field("enrolled", Kind::Flag, "a management server may configure the device"),
        field("user_approved", Kind::Flag, "macOS: a person at the device, or its purchase, approved it"),
        field("automated", Kind::Flag, "macOS: enrolled by its purchase"),
        field("service", Kind::Text, "host name of the server, or the provider's id"),
        field("directory_joined", Kind::Flag, "Windows: joined to a directory in the cloud"),
    ],
};

static IDENTIFIER: Schema = Schema {
    name: "device-identity.identifiers",
    fields: &[
        field("kind", Kind::Choice(IDENTIFIER_KINDS), "what it is"),
        field("value", Kind::Text, "its value"),
        field("placeholder", Kind::Flag, "the maker left what many machines have"),
    ],
};

static DEVICE_IDENTITY: Schema = Schema {
    name: "device-identity",
    fields: &[field(
        "identifiers",
        Kind::List { truncated: Some("identifiers_truncated"), item: &IDENTIFIER },
        "what an inventory may know the device by",
    )],
};

pub(super) fn of(control: &str) -> Option<&'static Schema> {
    [
        &AUTOMATIC_UPDATES,
        &DEVICE_IDENTITY,
        &DISK_ENCRYPTION,
        &EDR,
        &HOST_FIREWALL,
        &LOCAL_ADMINISTRATORS,
        &MDM_ENROLMENT,
        &OS_PATCH,
        &PASSWORD_MANAGER,
        &REMOTE_ACCESS,
        &SCREEN_LOCK,
        &SECURE_BOOT,
        &TIME_SYNC,
    ]
    .into_iter()
    .find(|schema| schema.name == control)
}
