//! What this Mac seems to be: by the name its firmware gives the product, or the model, and a hypervisor's mark.

use proto::{AssetClaim, AssetClass};

use crate::{
    answers::{Answers, Round},
    drive::{Look, Step},
    macos::{
        plists::{self, Value},
        sysctl,
    },
    programs::Program,
    question::{Answer, Question},
};

/// The product's name, which Macs with Apple's processors have in their device tree.
pub(crate) const PRODUCT: [&str; 6] = ["-a", "-r", "-d", "1", "-k", "product-name"];
/// How names begin of what is carried; those of products have blanks, those of models have none.
const LAPTOPS: [&str; 1] = ["MacBook"];
/// How names begin of what stands on a desk.
const DESKTOPS: [&str; 5] = ["iMac", "Mac mini", "Macmini", "Mac Studio", "Mac Pro"];
/// The tower of before, whose model is written in one word.
const TOWER: &str = "MacPro";
/// Models of virtual machines, with the names of systemd-detect-virt(1).
const VIRTUAL: [(&str, &str); 3] =
    [("VirtualMac", "apple"), ("VMware", "vmware"), ("Parallels", "parallels")];
/// A hypervisor that does not give its name.
const OTHER: &str = "vm-other";

/// The next step, given all answers so far.
pub(crate) fn step(answers: &Answers) -> Look {
    let mut round = Round::new(answers);
    let kernel = sysctl::ask(&mut round);
    let product = round.ask(&Question::run(Program::Ioreg, &PRODUCT));
    if let Some(Step::Ask(questions)) = round.pending() {
        return Look::Ask(questions);
    }
    let values = sysctl::values(kernel);
    let value = |name: &str| values.as_ref().and_then(|values| values.get(name).copied());
    let model = value("hw.model");
    let virtualisation = match value("kern.hv_vmm_present") {
        Some("0") => Some("none"),
        Some("1") => {
            let known = VIRTUAL.into_iter().find(|(begin, _)| model.is_some_and(|m| m.starts_with(begin)));
            Some(known.map_or(OTHER, |(_, name)| name))
        }
        _ => None,
    };
    let class = match virtualisation {
        Some("none") => class(product_name(product).as_deref(), model),
        Some(_) => AssetClass::Vm,
        None => AssetClass::Unspecified,
    };
    let claim = AssetClaim {
        class: class.into(),
        virtualisation: virtualisation.map(str::to_owned),
        ..AssetClaim::default()
    };
    Look::Done((claim != AssetClaim::default()).then_some(claim))
}

/// The one name in the device tree, which ends in a zero byte.
fn product_name(answer: &Answer) -> Option<String> {
    let list = plists::of(answer)?;
    let [only] = list.array()? else { return None };
    match only.dict()?.get("product-name")? {
        Value::Data(bytes) => String::from_utf8(bytes.strip_suffix(&[0])?.to_vec()).ok(),
        _ => None,
    }
}

fn class(product: Option<&str>, model: Option<&str>) -> AssetClass {
    let begins = |begins: &[&str]| {
        [product, model].into_iter().flatten().any(|name| begins.iter().any(|begin| name.starts_with(begin)))
    };
    match (begins(&LAPTOPS), begins(&DESKTOPS) || model.is_some_and(|model| model.starts_with(TOWER))) {
        (true, false) => AssetClass::Laptop,
        (false, true) => AssetClass::Desktop,
        _ => AssetClass::Unspecified,
    }
}
