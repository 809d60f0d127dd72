//! From the observed message to its facts: absent options, zero enums and empty texts are left out.

use proto::facts::Control;

use super::schema::{
    ASSET_CLASSES, BOOT_SECURITIES, COVERAGES, FILTER_DEFAULTS, FILTER_SCOPES, FIRMWARES, HEALTH_SOURCES,
    IDENTIFIER_KINDS, IMPAIRMENTS, LAYERS, LOCK_SCOPES, PRODUCT_KINDS, PURPOSES, ROOT_LOGINS,
};
use super::{Facts, ITEM, List, Value};

impl Facts {
    fn text(mut self, name: &'static str, text: &str) -> Self {
        if !text.is_empty() {
            self.values.insert(name, Value::Text(text.to_owned()));
        }
        self
    }

    fn integer(mut self, name: &'static str, number: Option<u64>) -> Self {
        self.values.extend(number.map(|number| (name, Value::Integer(number))));
        self
    }

    fn flag(self, name: &'static str, flag: Option<bool>) -> Self {
        match flag {
            Some(true) => self.text(name, "yes"),
            Some(false) => self.text(name, "no"),
            None => self,
        }
    }

    /// The name of enum value `number`; 0 and numbers nobody knows are unknown.
    fn choice(self, name: &'static str, names: &[&str], number: i32) -> Self {
        let position = usize::try_from(number).ok().and_then(|number| number.checked_sub(1));
        match position.and_then(|position| names.get(position)) {
            Some(text) => self.text(name, text),
            None => self,
        }
    }

    fn rows<'a, Row: 'a>(
        mut self,
        name: &'static str,
        rows: impl IntoIterator<Item = &'a Row>,
        truncated: bool,
        item: impl Fn(&Row) -> Self,
    ) -> Self {
        let items = rows.into_iter().map(item).collect();
        self.lists.insert(name, List { items, truncated });
        self
    }
}

pub(super) fn asset(claim: &proto::AssetClaim) -> Facts {
    Facts::default()
        .choice("class", ASSET_CLASSES, claim.class)
        .integer("chassis_type", claim.chassis_type.map(u64::from))
        .flag("battery", claim.battery)
        .flag("graphical_target", claim.graphical_target)
        .text("virtualisation", claim.virtualisation())
}

pub(super) fn control(control: &Control) -> Facts {
    match control {
        Control::AutomaticUpdates(updates) => Facts::default()
            .text("mechanism", &updates.mechanism)
            .flag("downloads", updates.downloads)
            .flag("installs_security", updates.installs_security)
            .flag("scheduled", updates.scheduled),
        Control::DeviceIdentity(identity) => Facts::default().rows(
            "identifiers",
            &identity.identifiers,
            identity.identifiers_truncated,
            identifier,
        ),
        Control::DiskEncryption(disk) => {
            Facts::default().rows("volumes", &disk.volumes, disk.volumes_truncated, volume)
        }
        Control::Edr(edr) => {
            Facts::default().rows("products", &edr.products, edr.products_truncated, product)
        }
        Control::HostFirewall(firewall) => {
            Facts::default().rows("filters", &firewall.filters, firewall.filters_truncated, firewall_filter)
        }
        Control::LocalAdministrators(administrators) => local_administrators(administrators),
        Control::MdmEnrolment(mdm) => mdm_enrolment(mdm),
        Control::OsPatch(patch) => os_patch(patch),
        Control::PasswordManager(manager) => Facts::default().flag("installed", manager.installed).rows(
            "managers",
            &manager.managers,
            manager.managers_truncated,
            manager_product,
        ),
        Control::RemoteAccess(remote) => remote_access(remote),
        Control::ScreenLock(lock) => {
            Facts::default().rows("users", &lock.users, lock.users_truncated, lock_setting)
        }
        Control::SecureBoot(boot) => secure_boot(boot),
        Control::TimeSync(time) => Facts::default()
            .text("service", &time.service)
            .flag("enabled", time.enabled)
            .flag("synchronised", time.synchronised)
            .integer("synchronised_minutes", time.synchronised_minutes),
    }
}

fn firewall_filter(filter: &proto::FirewallFilter) -> Facts {
    Facts::default()
        .choice("scope", FILTER_SCOPES, filter.scope)
        .flag("enabled", filter.enabled)
        .choice("incoming", FILTER_DEFAULTS, filter.incoming)
        .integer("open_interfaces", filter.open_interfaces.map(u64::from))
}

fn identifier(identifier: &proto::Identifier) -> Facts {
    Facts::default()
        .choice("kind", IDENTIFIER_KINDS, identifier.kind)
        .text("value", &identifier.value)
        .flag("placeholder", identifier.placeholder)
}

fn local_administrators(administrators: &proto::LocalAdministrators) -> Facts {
    Facts::default()
        .integer("administrators", administrators.administrators.map(u64::from))
        .integer("administrators_seen", administrators.administrators_seen.map(u64::from))
        .integer("directory_groups", administrators.directory_groups.map(u64::from))
        .integer("other_root_accounts", administrators.other_root_accounts.map(u64::from))
        .integer("passwordless_rules", administrators.passwordless_rules.map(u64::from))
        .integer("limited_rules", administrators.limited_rules.map(u64::from))
        .flag("built_in_enabled", administrators.built_in_enabled)
}

fn manager_product(product: &proto::ManagerProduct) -> Facts {
    Facts::default().text("product", &product.product).flag("installed", product.installed)
}

fn mdm_enrolment(mdm: &proto::MdmEnrolment) -> Facts {
    Facts::default()
        .flag("enrolled", mdm.enrolled)
        .flag("user_approved", mdm.user_approved)
        .flag("automated", mdm.automated)
        .text("service", &mdm.service)
        .flag("directory_joined", mdm.directory_joined)
}

fn remote_access(remote: &proto::RemoteAccess) -> Facts {
    Facts::default()
        .flag("ssh_server", remote.ssh_server)
        .choice("root_login", ROOT_LOGINS, remote.root_login)
        .flag("password_login", remote.password_login)
        .flag("keyboard_interactive", remote.keyboard_interactive)
        .flag("remote_desktop", remote.remote_desktop)
        .flag("network_authentication", remote.network_authentication)
}

fn secure_boot(boot: &proto::SecureBoot) -> Facts {
    Facts::default()
        .choice("firmware", FIRMWARES, boot.firmware)
        .flag("enabled", boot.enabled)
        .flag("setup_mode", boot.setup_mode)
        .flag("shim_disabled", boot.shim_disabled)
        .choice("level", BOOT_SECURITIES, boot.level)
        .integer("tpm_version", boot.tpm_version.map(u64::from))
}

fn volume(volume: &proto::Volume) -> Facts {
    Facts::default()
        .choice("purpose", PURPOSES, volume.purpose)
        .text("mount", &volume.mount)
        .text("filesystem", &volume.filesystem)
        .choice("encryption", COVERAGES, volume.encryption)
        .integer("leaves", Some(volume.leaves.into()))
        .integer("leaves_encrypted", Some(volume.leaves_encrypted.into()))
        .rows("layers", &volume.layers, false, |layer| Facts::default().choice(ITEM, LAYERS, *layer))
        .flag("removable", volume.removable)
        .flag("virtual_disk", volume.virtual_disk)
}

fn os_patch(patch: &proto::OsPatch) -> Facts {
    Facts::default()
        .text("os", &patch.os)
        .text("version", patch.version())
        .text("kernel", &patch.kernel)
        .integer("pending_security", patch.pending_security.map(u64::from))
        .integer("pending_other", patch.pending_other.map(u64::from))
        .integer("lists_minutes", patch.lists_minutes)
        .integer("installed_minutes", patch.installed_minutes)
        .flag("reboot_required", patch.reboot_required)
}

fn lock_setting(setting: &proto::LockSetting) -> Facts {
    Facts::default()
        .text("desktop", &setting.desktop)
        .choice("scope", LOCK_SCOPES, setting.scope)
        .flag("enabled", setting.enabled)
        .integer("idle_seconds", setting.idle_seconds.map(u64::from))
        .integer("delay_seconds", setting.delay_seconds.map(u64::from))
        .flag("enforced", setting.enforced)
}

fn product(product: &proto::Product) -> Facts {
    Facts::default()
        .text("product", &product.product)
        .choice("kind", PRODUCT_KINDS, product.kind)
        .flag("installed", product.installed)
        .text("version", product.version())
        .flag("running", product.running)
        .flag("trusted_path", product.trusted_path)
        .flag("unit_active", product.unit_active)
        .flag("attached", product.attached)
        .flag("effective", product.effective)
        .flag("passive", product.passive)
        .choice("health_source", HEALTH_SOURCES, product.health_source)
        .choice("impairment", IMPAIRMENTS, product.impairment)
        .integer("definitions_minutes", product.definitions_minutes)
        .flag("signed", product.signed)
}
