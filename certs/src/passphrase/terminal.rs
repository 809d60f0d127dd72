//! Asking a person at the terminal: the one thing in this crate that is no argument, so that every program asks alike.

use zeroize::Zeroizing;

use super::PassphraseError;

/// One line from the terminal, unseen.
#[cfg(unix)]
pub(super) fn ask(prompt: &str) -> Result<Zeroizing<Vec<u8>>, PassphraseError> {
    use std::fs::OpenOptions;
    use std::io::{Read as _, Write as _};

    use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};

    use super::PASSPHRASE_BYTES_MAX;

    let missing = |error: &dyn std::fmt::Display| PassphraseError::NoTerminal(error.to_string());
    // Not standard input: that may be a pipe, and the prompt must not go into an answer.
    let mut terminal =
        OpenOptions::new().read(true).write(true).open("/dev/tty").map_err(|error| missing(&error))?;
    let before = tcgetattr(&terminal).map_err(|error| missing(&error))?;
    let mut quiet = before.clone();
    quiet.local_modes.remove(LocalModes::ECHO);
    quiet.local_modes.insert(LocalModes::ECHONL);
    tcsetattr(&terminal, OptionalActions::Flush, &quiet).map_err(|error| missing(&error))?;
    let asked = (|| {
        terminal.write_all(prompt.as_bytes())?;
        // The whole room at once, so that no copy is left behind by growing.
        let mut line = Zeroizing::new(Vec::with_capacity(PASSPHRASE_BYTES_MAX + 1));
        let mut byte = [0_u8];
        while line.len() <= PASSPHRASE_BYTES_MAX && terminal.read(&mut byte)? == 1 && byte != *b"\n" {
            line.extend_from_slice(&byte);
        }
        Ok::<_, std::io::Error>(line)
    })();
    // Whatever came of it, the terminal is given back as it was.
    tcsetattr(&terminal, OptionalActions::Now, &before).map_err(|error| missing(&error))?;
    asked.map_err(|error| missing(&error))
}

/// Only Unix terminals are known here.
#[cfg(not(unix))]
pub(super) fn ask(_prompt: &str) -> Result<Zeroizing<Vec<u8>>, PassphraseError> {
    Err(PassphraseError::NoTerminal("this system's terminals are not supported".to_owned()))
}
