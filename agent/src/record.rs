//! Records a machine: passes questions on to another host and keeps what it answers.

use std::cell::RefCell;

use probes::{Answer, Answers, Catalogue, Host, NoAnswer, Platform, Process, Question, Recording};

/// A host that keeps every answer of the host behind it.
#[derive(Debug)]
pub struct Recorder<H> {
    host: H,
    answers: RefCell<Answers>,
}

impl<H: Host> Recorder<H> {
    /// Records what `host` answers from now on.
    pub fn new(host: H) -> Self {
        Self { host, answers: RefCell::new(Answers::new()) }
    }

    /// Everything recorded, as a recording without what the probes make no use of.
    ///
    /// Processes that no probe looks for are left out: what else runs is nobody's business. So are answers that name
    /// people or the machine: its controls could not be looked at when the recording is replayed.
    pub fn into_recording(self, platform: Platform, release: String, source: String) -> Recording {
        let mut reduced = Answers::new();
        let mut redactions = Vec::new();
        let mut left_out = 0_usize;
        for (question, answer) in self.answers.into_inner().iter() {
            let answer = match answer {
                _ if probes::names_somebody(platform, question) => {
                    left_out = left_out.saturating_add(1);
                    Answer::Failed
                }
                Answer::Processes(processes) => {
                    let first = processes.iter().map(|process| process.pid).min();
                    let is_kept =
                        |process: &&Process| Some(process.pid) == first || is_of_use(platform, process);
                    let kept: Vec<Process> = processes.iter().filter(is_kept).cloned().collect();
                    redactions.push(format!("processes: {} of {} kept", kept.len(), processes.len()));
                    Answer::Processes(kept)
                }
                other => other.clone(),
            };
            reduced.insert(question.clone(), answer);
        }
        if left_out > 0 {
            redactions.push(format!("{left_out} answers that name people or the machine left out"));
        }
        Recording::of(&reduced, platform, release, source, redactions)
    }
}

/// What a probe may look for. Beside it the first process is kept, so that the list is not empty.
fn is_of_use(platform: Platform, process: &Process) -> bool {
    let path = process.exe.as_deref().unwrap_or(&process.name);
    let file = path.rsplit(['/', '\\']).next().unwrap_or(path);
    let of_catalogue = Catalogue::bundled().is_some_and(|catalogue| {
        catalogue.products.iter().any(|product| match platform {
            Platform::Windows => product
                .windows
                .as_ref()
                .is_some_and(|windows| windows.images.iter().any(|image| image.eq_ignore_ascii_case(file))),
            Platform::Macos => product.macos.as_ref().is_some_and(|macos| {
                macos.executables.iter().any(|executable| executable == path)
                    || macos.processes.iter().chain(&macos.extensions).any(|name| name == file)
            }),
            _ => product.linux.as_ref().is_some_and(|linux| {
                linux.shows(&process.name) || process.exe.as_deref().is_some_and(|exe| linux.owns(exe))
            }),
        })
    });
    of_catalogue
        || platform == Platform::Linux && (probes::is_graphical(process) || probes::may_lock(process))
}

impl<H: Host> Host for Recorder<H> {
    fn answer(&self, question: &Question) -> Result<Answer, NoAnswer> {
        let answer = self.host.answer(question)?;
        self.answers.borrow_mut().insert(question.clone(), answer.clone());
        Ok(answer)
    }
}

#[cfg(test)]
mod tests;
