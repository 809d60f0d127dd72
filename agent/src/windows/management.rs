//! WMI: properties of the objects of a class, and what methods that only read give out.
//!
//! The class itself is looked for first. A list without objects is then a list; where the class is not known, some
//! systems also give an empty list, and that must not be read as "there is none".

use std::{
    collections::BTreeMap,
    sync::{
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use probes::{Answer, Question, TABLE_LINES_MAX, TableWriter};
use wmi::{AuthLevel, IWbemClassWrapper, Variant, WMIConnection, WMIError};

/// How long a question may take. BitLocker answers in some seconds; a provider that starts up takes ten.
const DEADLINE: Duration = Duration::from_secs(60);
/// Most questions that wait for an answer which never came: their threads cannot be ended, only be left.
const WAITING_MAX: usize = 4;
static WAITING: AtomicUsize = AtomicUsize::new(0);

// Numbers of WMI and of COM (wbemcli.h, winerror.h), as they are printed in documents.
const ACCESS_DENIED: [u32; 2] = [0x8004_1003, 0x8007_0005];
/// No such object or property, namespace, class; WMI itself is not there.
const NOT_THERE: [u32; 4] = [NOT_FOUND, 0x8004_100E, 0x8004_1010, 0x8004_0154];
const NOT_FOUND: u32 = 0x8004_1002;
const TIMED_OUT: u32 = 0x8004_1069;

/// The objects of a class as a table of one row each.
pub(super) fn objects(
    question: &Question,
    namespace: &'static str,
    class: &'static str,
    names: &'static [&'static str],
) -> Answer {
    if WAITING.fetch_add(1, Ordering::Relaxed) >= WAITING_MAX {
        WAITING.fetch_sub(1, Ordering::Relaxed);
        return Answer::TimedOut;
    }
    let (sender, receiver) = mpsc::channel();
    let asked = question.clone();
    let started = thread::Builder::new().name("wmi".to_owned()).spawn(move || {
        let answer = ask(&asked, namespace, class, names).unwrap_or_else(|answer| answer);
        WAITING.fetch_sub(1, Ordering::Relaxed);
        if sender.send(answer).is_err() {
            tracing::debug!(question = %asked, "WMI answered after the deadline");
        }
    });
    if started.is_err() {
        WAITING.fetch_sub(1, Ordering::Relaxed);
        return Answer::Failed;
    }
    match receiver.recv_timeout(DEADLINE) {
        Ok(answer) => answer,
        Err(mpsc::RecvTimeoutError::Timeout) => Answer::TimedOut,
        Err(mpsc::RecvTimeoutError::Disconnected) => Answer::Failed,
    }
}

fn ask(question: &Question, namespace: &str, class: &str, names: &[&str]) -> Result<Answer, Answer> {
    let connection = WMIConnection::with_namespace_path(namespace).map_err(failure)?;
    // BitLocker answers nobody who does not encrypt the call.
    connection.set_proxy_blanket(AuthLevel::PktPrivacy).map_err(failure)?;
    connection.get_object(class).map_err(failure)?;
    let mut table = TableWriter::new(question);
    let found = connection.exec_query(format!("SELECT * FROM {class}")).map_err(failure)?;
    for (count, object) in found.enumerate() {
        if count >= TABLE_LINES_MAX {
            return Err(Answer::TooLarge);
        }
        let object = object.map_err(failure)?;
        table.row();
        let mut methods = BTreeMap::new();
        for name in names {
            let value = match name.split_once('.') {
                None => property(&object, name)?,
                Some((method, output)) => {
                    let told = match methods.entry(method) {
                        std::collections::btree_map::Entry::Occupied(told) => told.into_mut(),
                        std::collections::btree_map::Entry::Vacant(new) => {
                            new.insert(call(&connection, &object, method)?)
                        }
                    };
                    told.as_ref().map_or(Ok(Variant::Null), |told| property(told, output))?
                }
            };
            write(&mut table, name, value)?;
        }
    }
    Ok(table.finish())
}

/// A property; null where this system's class has none of the name.
fn property(object: &IWbemClassWrapper, name: &str) -> Result<Variant, Answer> {
    match object.get_property(name) {
        Err(WMIError::HResultError { hres }) if hres.cast_unsigned() == NOT_FOUND => Ok(Variant::Null),
        value => value.map_err(failure),
    }
}

/// What a method without arguments gives out; `None` where it says that it failed.
fn call(
    connection: &WMIConnection,
    object: &IWbemClassWrapper,
    method: &str,
) -> Result<Option<IWbemClassWrapper>, Answer> {
    let path = object.path().map_err(failure)?;
    let Some(told) = connection.exec_method(path, method, None).map_err(failure)? else { return Ok(None) };
    let returned = told.get_property("ReturnValue").map_err(failure)?;
    Ok(matches!(returned, Variant::UI4(0) | Variant::I4(0)).then_some(told))
}

/// A value by its type. One that has no place in a table makes the whole answer fail: left out, it would look like one
/// that is not there.
fn write(table: &mut TableWriter, name: &str, value: Variant) -> Result<(), Answer> {
    let number = match value {
        Variant::Empty | Variant::Null => return Ok(()),
        Variant::Array(values) => {
            return values.into_iter().try_for_each(|value| write(table, name, value));
        }
        Variant::String(text) => {
            table.text(name, &text);
            return Ok(());
        }
        Variant::Bool(yes) => i128::from(yes),
        Variant::UI1(number) => number.into(),
        Variant::UI2(number) => number.into(),
        Variant::UI4(number) => number.into(),
        Variant::UI8(number) => number.into(),
        Variant::I1(number) => number.into(),
        Variant::I2(number) => number.into(),
        Variant::I4(number) => number.into(),
        Variant::I8(number) => number.into(),
        Variant::R4(_) | Variant::R8(_) | Variant::Unknown(_) | Variant::Object(_) => {
            return Err(Answer::Failed);
        }
    };
    // A number below zero has no place in a table either, and no probe asks for one.
    table.number(name, u64::try_from(number).map_err(|_| Answer::Failed)?);
    Ok(())
}

/// What an error of WMI means to a probe.
fn failure(error: WMIError) -> Answer {
    tracing::debug!(%error, "WMI");
    let WMIError::HResultError { hres } = error else { return Answer::Failed };
    match hres.cast_unsigned() {
        number if ACCESS_DENIED.contains(&number) => Answer::Denied,
        number if NOT_THERE.contains(&number) => Answer::Absent,
        TIMED_OUT => Answer::TimedOut,
        _ => Answer::Failed,
    }
}
