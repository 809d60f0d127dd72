//! The live machine, asked so that nobody notices: what takes seconds of a processor gets only what nobody else wants.

use std::thread;

use probes::{Answer, Host, NoAnswer, Question};

use crate::host::LiveHost;

/// The nice value that gives way to everybody.
#[cfg(unix)]
const LEAST_PRIORITY: i32 = 19;

/// As [`LiveHost`], but package managers run with the least priority, which also puts their reading of files last. For
/// work in the background: where a person waits for the answer, a busy machine would let him wait for minutes.
#[derive(Debug, Default, Clone, Copy)]
pub struct AtRest;

impl Host for AtRest {
    fn answer(&self, question: &Question) -> Result<Answer, NoAnswer> {
        match question {
            Question::Run { program, .. } if program.inputs().is_some() => {
                with_least_priority(|| LiveHost.answer(question)).unwrap_or(Ok(Answer::Failed))
            }
            _ => LiveHost.answer(question),
        }
    }
}

/// Does it in a thread of its own: the priority is that thread's alone, and what it starts has it from its first
/// instruction. `None` if it panicked.
fn with_least_priority<T: Send>(work: impl FnOnce() -> T + Send) -> Option<T> {
    let lowered = || {
        #[cfg(unix)]
        if let Err(error) = rustix::process::setpriority_process(None, LEAST_PRIORITY) {
            tracing::debug!(%error, "a program runs with the agent's own priority");
        }
        work()
    };
    thread::scope(|scope| scope.spawn(lowered).join().ok())
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::process::Command;

    use super::{LEAST_PRIORITY, with_least_priority};

    #[test]
    fn what_is_started_has_the_least_priority_and_the_agent_keeps_its_own() {
        let nice = || {
            let printed = Command::new("/usr/bin/nice").output().unwrap().stdout;
            String::from_utf8(printed).unwrap().trim().parse::<i32>().unwrap()
        };
        let own = nice();
        assert!(own < LEAST_PRIORITY);
        assert_eq!(with_least_priority(nice), Some(LEAST_PRIORITY));
        assert_eq!(nice(), own);
    }
}
