//! `completions` and `man`: the command line told to shells and to `man`, from its one definition.

use std::fs;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, Command as Definition};
use clap_complete::Shell;
use serde_json::json;

use crate::command::Context;

/// Arguments of `completions`.
#[derive(Debug, Args)]
pub(crate) struct CompletionsArgs {
    /// The shell
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

impl CompletionsArgs {
    /// Prints what the shell is to read.
    pub(crate) fn run(&self, mut definition: Definition, context: &mut Context<'_>) -> anyhow::Result<()> {
        let name = definition.get_name().to_owned();
        // Into memory first: the generator stops the program when it cannot write.
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut definition, name, &mut script);
        if context.options.json {
            let script = String::from_utf8_lossy(&script);
            writeln!(context.out, "{}", json!({"shell": self.shell.to_string(), "script": script}))?;
        } else {
            context.out.write_all(&script)?;
        }
        Ok(())
    }
}

/// Arguments of `man`.
#[derive(Debug, Args)]
pub(crate) struct ManArgs {
    /// Folder for the pages, one of each command; made if it is not there
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

impl ManArgs {
    /// Writes the pages, in place of those of before.
    pub(crate) fn run(&self, definition: Definition, context: &mut Context<'_>) -> anyhow::Result<()> {
        let folder = self.folder.display();
        fs::create_dir_all(&self.folder).with_context(|| format!("cannot make {folder}"))?;
        // `help` would bring a page for each command once more.
        let definition = definition.disable_help_subcommand(true);
        clap_mangen::generate_to(definition, &self.folder)
            .with_context(|| format!("cannot write into {folder}"))?;
        if context.options.json {
            writeln!(context.out, "{}", json!({"folder": self.folder}))?;
        } else {
            writeln!(context.out, "The pages are in {folder}. Read one: man {folder}/tallystick.1")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
