//! A rule set of nftables as `nft -j` prints it, and what it does with a packet that no rule names.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// Deepest chain of jumps; the kernel allows 16.
const JUMPS_MAX: usize = 16;
/// Statements that neither choose packets nor decide about them.
const NEUTRAL: [&str; 4] = ["counter", "log", "mangle", "meter"];

/// Where a chain lies: family, table, name.
type Place<'a> = (&'a str, &'a str, &'a str);

/// What becomes of a packet that no rule names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It comes in.
    Accept,
    /// It is dropped or rejected.
    Block,
    /// The chain ends, and the one that called it goes on.
    Return,
    /// It cannot be told.
    Unknown,
}

/// All chains with their rules.
#[derive(Debug)]
pub(crate) struct Ruleset {
    objects: Vec<Value>,
}

/// What a family does with incoming packets.
#[derive(Debug)]
pub(crate) struct Incoming {
    /// With those that no rule names: `Accept`, `Block` or `Unknown`.
    pub(crate) fate: Fate,
    /// Some chain of incoming traffic has a rule.
    pub(crate) has_rules: bool,
    /// Rules that let in everything from one interface, the loopback apart; `None` when it cannot be told.
    pub(crate) open_interfaces: Option<u32>,
}

/// What one rule does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict<'a> {
    Accept,
    Block,
    Return,
    Jump(&'a str),
    Goto(&'a str),
    Unknown,
}

/// Which packets one rule is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Choice {
    All,
    Loopback,
    Interface,
    Some,
}

impl Ruleset {
    /// Reads the one line of `nft -j list ruleset`; `None` for anything else, and without the program's own header.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let Ok(Value::Object(mut members)) = serde_json::from_str(text) else { return None };
        let Some(Value::Array(objects)) = members.remove("nftables") else { return None };
        objects.first()?.get("metainfo")?;
        Some(Self { objects })
    }

    /// What `family` (`ip` or `ip6`) does with incoming packets; tables of `inet` count for both.
    pub(crate) fn incoming(&self, family: &str) -> Incoming {
        let chains = Chains::of(self, family);
        let Some(chains) = chains else {
            return Incoming { fate: Fate::Unknown, has_rules: false, open_interfaces: None };
        };
        let mut known = BTreeMap::new();
        let fates: Vec<Fate> = chains
            .base
            .iter()
            .map(|(place, policy)| match chains.fate(*place, 0, &mut known) {
                Fate::Return => *policy,
                other => other,
            })
            .collect();
        let fate = [Fate::Block, Fate::Unknown]
            .into_iter()
            .find(|fate| fates.contains(fate))
            .unwrap_or(Fate::Accept);
        let reached = chains.reached();
        Incoming {
            fate,
            has_rules: reached.iter().any(|place| chains.rules.get(place).is_some_and(|r| !r.is_empty())),
            open_interfaces: chains.open_interfaces(&reached, &mut known),
        }
    }
}

/// The chains of one family.
struct Chains<'a> {
    /// Chains that incoming packets enter, with what their policy does.
    base: Vec<(Place<'a>, Fate)>,
    rules: BTreeMap<Place<'a>, Vec<(Choice, Verdict<'a>)>>,
}

impl<'a> Chains<'a> {
    /// `None` when an object lacks what every object of its kind has.
    fn of(ruleset: &'a Ruleset, family: &str) -> Option<Self> {
        let mut chains = Self { base: Vec::new(), rules: BTreeMap::new() };
        for object in &ruleset.objects {
            if let Some(chain) = object.get("chain") {
                let place = (text(chain, "family")?, text(chain, "table")?, text(chain, "name")?);
                if place.0 != family && place.0 != "inet" {
                    continue;
                }
                chains.rules.entry(place).or_default();
                if text(chain, "hook") == Some("input") && text(chain, "type") == Some("filter") {
                    let policy = match text(chain, "policy")? {
                        "accept" => Fate::Accept,
                        "drop" => Fate::Block,
                        _ => Fate::Unknown,
                    };
                    chains.base.push((place, policy));
                }
            } else if let Some(rule) = object.get("rule") {
                let place = (text(rule, "family")?, text(rule, "table")?, text(rule, "chain")?);
                if place.0 == family || place.0 == "inet" {
                    let Some(Value::Array(statements)) = rule.get("expr") else { return None };
                    chains.rules.entry(place).or_default().extend(read_rule(statements));
                }
            }
        }
        Some(chains)
    }

    /// What a chain does with a packet that no rule names; each chain is walked once.
    fn fate(&self, place: Place<'a>, depth: usize, known: &mut BTreeMap<Place<'a>, Fate>) -> Fate {
        if let Some(fate) = known.get(&place) {
            return *fate;
        }
        let Some(rules) = self.rules.get(&place).filter(|_| depth < JUMPS_MAX) else { return Fate::Unknown };
        let mut found = Fate::Return;
        for (_, verdict) in rules.iter().filter(|(choice, _)| *choice == Choice::All) {
            let fate = match verdict {
                Verdict::Accept => Fate::Accept,
                Verdict::Block => Fate::Block,
                Verdict::Return => break,
                Verdict::Unknown => Fate::Unknown,
                Verdict::Jump(name) => self.fate((place.0, place.1, name), depth + 1, known),
                Verdict::Goto(name) => {
                    found = self.fate((place.0, place.1, name), depth + 1, known);
                    break;
                }
            };
            if fate != Fate::Return {
                found = fate;
                break;
            }
        }
        known.insert(place, found);
        found
    }

    /// Every chain that incoming packets can come to.
    fn reached(&self) -> BTreeSet<Place<'a>> {
        let mut reached = BTreeSet::new();
        let mut open: Vec<Place<'a>> = self.base.iter().map(|(place, _)| *place).collect();
        while let Some(place) = open.pop() {
            if reached.insert(place) {
                let rules = self.rules.get(&place).into_iter().flatten();
                open.extend(rules.filter_map(|(_, verdict)| match verdict {
                    Verdict::Jump(name) | Verdict::Goto(name) => Some((place.0, place.1, *name)),
                    _ => None,
                }));
            }
        }
        reached
    }

    fn open_interfaces(
        &self,
        reached: &BTreeSet<Place<'a>>,
        known: &mut BTreeMap<Place<'a>, Fate>,
    ) -> Option<u32> {
        let mut count = 0;
        for place in reached {
            for (choice, verdict) in self.rules.get(place).into_iter().flatten() {
                if *choice != Choice::Interface {
                    continue;
                }
                let fate = match verdict {
                    Verdict::Accept => Fate::Accept,
                    Verdict::Jump(name) | Verdict::Goto(name) => {
                        self.fate((place.0, place.1, name), 1, known)
                    }
                    Verdict::Unknown => Fate::Unknown,
                    Verdict::Block | Verdict::Return => Fate::Return,
                };
                match fate {
                    Fate::Accept => count += 1,
                    Fate::Unknown => return None,
                    Fate::Block | Fate::Return => {}
                }
            }
        }
        Some(count)
    }
}

fn text<'a>(object: &'a Value, name: &str) -> Option<&'a str> {
    object.get(name)?.as_str()
}

/// A rule's choice and verdict; `None` for a rule that decides nothing.
fn read_rule(statements: &[Value]) -> Option<(Choice, Verdict<'_>)> {
    let mut choice = Choice::All;
    let mut verdict = None;
    for (name, value) in statements.iter().filter_map(Value::as_object).flatten() {
        match name.as_str() {
            "accept" => verdict = Some(Verdict::Accept),
            "drop" | "reject" => verdict = Some(Verdict::Block),
            "return" => verdict = Some(Verdict::Return),
            "jump" => verdict = Some(text(value, "target").map_or(Verdict::Unknown, Verdict::Jump)),
            "goto" => verdict = Some(text(value, "target").map_or(Verdict::Unknown, Verdict::Goto)),
            "match" => choice = narrower(choice, matched(value)),
            // A map from interfaces to chains: which interface comes to which chain is not followed.
            "vmap" if is_interface(value.get("key")) => {
                choice = narrower(choice, Choice::Interface);
                verdict = Some(Verdict::Unknown);
            }
            // An extension of iptables: a comment chooses nothing, another named match does; the rest is not known.
            "xt" => match (text(value, "type"), text(value, "name")) {
                (Some("match"), Some("comment")) | (Some("target"), Some("LOG" | "NFLOG")) => {}
                (Some("match"), Some(_)) => choice = Choice::Some,
                (Some("target"), Some("REJECT")) => verdict = Some(Verdict::Block),
                _ => return Some((choice, Verdict::Unknown)),
            },
            neutral if NEUTRAL.contains(&neutral) => {}
            "queue" => verdict = Some(Verdict::Unknown),
            _ => choice = Choice::Some,
        }
    }
    verdict.map(|verdict| (choice, verdict))
}

/// Two conditions at once choose no more than each of them.
fn narrower(one: Choice, other: Choice) -> Choice {
    match (one, other) {
        (Choice::All, choice) | (choice, Choice::All) => choice,
        (Choice::Loopback, Choice::Interface) | (Choice::Interface, Choice::Loopback) => Choice::Loopback,
        (one, other) if one == other => one,
        _ => Choice::Some,
    }
}

fn matched(condition: &Value) -> Choice {
    if is_interface(condition.get("left")) {
        let is_loopback = text(condition, "op") == Some("==") && text(condition, "right") == Some("lo");
        return if is_loopback { Choice::Loopback } else { Choice::Interface };
    }
    // A network of length 0 is every address.
    let length = condition.pointer("/right/prefix/len").and_then(Value::as_u64);
    if length == Some(0) { Choice::All } else { Choice::Some }
}

fn is_interface(expression: Option<&Value>) -> bool {
    expression
        .and_then(|e| e.pointer("/meta/key"))
        .and_then(Value::as_str)
        .is_some_and(|key| matches!(key, "iif" | "iifname" | "iiftype" | "iifgroup"))
}
