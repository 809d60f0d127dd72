//! A TPM 2.0 by `swtpm`, and the agent built for one.
//!
//! Needs Debian's swtpm and libtss2-dev, which `./check` installs; it says which are missing.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::process::{Running, run, run_command, wait_for};
use crate::world::free_ports;

/// TPM2_Clear by the platform, whose password is empty (TPM 2.0 part 3, section 24.6): what a firmware's menu does.
const CLEAR: [u8; 27] = [
    0x80, 0x02, 0, 0, 0, 27, 0, 0, 0x01, 0x26, 0x40, 0, 0, 0x0c, 0, 0, 0, 9, 0x40, 0, 0, 0x09, 0, 0, 0, 0, 0,
];
/// Where makers write the certificate of a P-256 endorsement key (TCG EK Credential Profile, section 2.2.1.5).
const CERTIFICATE_AT: &str = "0x01c0000a";
/// What that profile wants in it (section 3.2): what it is for, and the TPM's model as a directory name.
const EXTENSIONS: &str = "basicConstraints=critical,CA:FALSE\nkeyUsage=critical,keyAgreement\n\
    extendedKeyUsage=2.23.133.8.1\nsubjectAltName=critical,dirName:tpm\n[tpm]\nO=id:53544D20\nCN=Example\n";
/// Bytes of an answer's header: tag, length, code.
const HEADER_BYTES: usize = 10;

/// The agent with its feature `tpm`, built by Cargo into the target directory of this test.
///
/// # Panics
///
/// If it cannot be built: libtss2-dev is missing, or the code is wrong. Cargo's words say which.
#[track_caller]
pub fn agent(target: &Path) -> &'static str {
    static BUILT: OnceLock<String> = OnceLock::new();
    BUILT.get_or_init(|| {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
        let mut command = Command::new(cargo);
        // What Cargo tells this test of its own package: ring is built anew when it differs.
        for (name, _) in std::env::vars_os() {
            let of_this_package =
                ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_", "CARGO_PRIMARY_"];
            if name.to_str().is_some_and(|name| of_this_package.iter().any(|prefix| name.starts_with(prefix)))
            {
                command.env_remove(name);
            }
        }
        let built = command
            .current_dir(root)
            // Of the whole workspace, so that what others need is not built once more with fewer features.
            .args([
                "build",
                "--workspace",
                "--features",
                "agent/tpm",
                "--bin",
                "tallystick-agent",
                "--locked",
            ])
            .arg("--target-dir")
            .arg(target)
            .output()
            .expect("cargo runs");
        assert!(
            built.status.success(),
            "the agent with a TPM cannot be built (it needs Debian's libtss2-dev and pkg-config):\n{}",
            String::from_utf8_lossy(&built.stderr)
        );
        // The next build without the feature puts another program in its place.
        let copy = target.join("tmp").join("tallystick-agent-tpm");
        fs::create_dir_all(target.join("tmp")).expect("a folder");
        fs::copy(target.join("debug").join("tallystick-agent"), &copy).expect("the program that was built");
        copy.display().to_string()
    })
}

/// A maker of TPMs, by `openssl`.
#[derive(Debug)]
pub struct Maker {
    folder: PathBuf,
}

impl Maker {
    /// A new maker whose files lie in `folder`, which is made.
    #[track_caller]
    pub fn new(folder: PathBuf, name: &str) -> Self {
        fs::create_dir_all(&folder).expect("a folder");
        let maker = Self { folder };
        let (key, root, subject) = (maker.file("key"), maker.root(), format!("/O=Example/CN={name}"));
        let kind = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
        let files =
            ["-keyout", &key, "-out", &root.display().to_string(), "-subj", &subject, "-days", "3650"];
        run("openssl", [&kind[..], &files].concat()).ok();
        maker
    }

    /// Its root certificate, PEM.
    pub fn root(&self) -> PathBuf {
        self.folder.join("root.pem")
    }

    fn file(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }

    #[track_caller]
    fn certify(&self, key: &str, certificate: &str) {
        let (root, own, extensions) = (self.file("root.pem"), self.file("key"), self.file("extensions"));
        fs::write(&extensions, EXTENSIONS).expect("a file");
        let of = ["x509", "-new", "-force_pubkey", key, "-CA", &root, "-CAkey", &own, "-set_serial", "7"];
        let with = [
            "-subj",
            "/CN=TPM",
            "-days",
            "3650",
            "-extfile",
            &extensions,
            "-outform",
            "DER",
            "-out",
            certificate,
        ];
        run("openssl", [&of[..], &with].concat()).ok();
    }
}

/// A TPM's state in a folder, and where it answers while it runs.
#[derive(Debug)]
pub struct Tpm {
    folder: PathBuf,
    port: u16,
}

impl Tpm {
    /// A new TPM whose state lies in `folder`, which is made. It answers at `port` while it runs.
    pub fn new(folder: PathBuf, port: u16) -> Self {
        fs::create_dir_all(&folder).expect("a folder");
        Self { folder, port }
    }

    /// A port for a TPM, and the next one for its control.
    pub fn free_port() -> u16 {
        free_ports()
    }

    /// As agent.toml names it.
    pub fn address(&self) -> String {
        format!("swtpm:port={}", self.port)
    }

    /// Switches it on: as a machine's start does, nothing is loaded in it then.
    ///
    /// # Panics
    ///
    /// If `swtpm` is not installed.
    #[track_caller]
    pub fn start(&self) -> Running {
        let listens = |port: u16| format!("type=tcp,bindaddr=127.0.0.1,port={port}");
        let mut command = Command::new("swtpm");
        command.args(["socket", "--tpm2", "--flags", "not-need-init,startup-clear", "--tpmstate"]);
        command.arg(format!("dir={}", self.folder.display()));
        command.arg("--server").arg(listens(self.port)).arg("--ctrl").arg(listens(self.port + 1));
        let mut running = Running::start(command, &self.folder.join("log"));
        wait_for("swtpm to listen (Debian's package swtpm)", || {
            assert!(running.ended().is_none(), "swtpm ended:\n{}", running.said());
            TcpStream::connect(("127.0.0.1", self.port + 1)).ok().map(drop)
        });
        running
    }

    /// Clears it, as its owner does in the firmware's menu. It must run.
    #[track_caller]
    pub fn clear(&self) {
        let answer = self.command(&CLEAR);
        assert_eq!(answer.get(6..10), Some(&[0; 4][..]), "{answer:02x?}");
    }

    /// Writes a certificate of its endorsement key into it, as its maker does, and gives the certificate (DER).
    ///
    /// # Panics
    ///
    /// If `openssl` or tpm2-tools are not installed.
    #[track_caller]
    pub fn endorse(&self, maker: &Maker) -> Vec<u8> {
        let file = |name: &str| self.folder.join(name).display().to_string();
        let (key, certificate) = (file("ek.pem"), file("ek.der"));
        self.tool("tpm2_createek", &["-G", "ecc", "-c", &file("ek.ctx"), "-u", &key, "-f", "pem"]);
        self.tool("tpm2_flushcontext", &["-t"]);
        maker.certify(&key, &certificate);
        let der = fs::read(&certificate).expect("the certificate");
        self.certificate(&der);
        der
    }

    /// Writes a certificate into the place where makers write theirs.
    #[track_caller]
    pub fn certificate(&self, der: &[u8]) {
        let file = self.folder.join("written.der");
        fs::write(&file, der).expect("a file");
        let attributes = "ppwrite|ppread|ownerread|authread|no_da|platformcreate";
        self.tool(
            "tpm2_nvdefine",
            &[CERTIFICATE_AT, "-C", "p", "-s", &der.len().to_string(), "-a", attributes],
        );
        self.tool("tpm2_nvwrite", &[CERTIFICATE_AT, "-C", "p", "-i", &file.display().to_string()]);
    }

    #[track_caller]
    fn tool(&self, program: &str, arguments: &[&str]) {
        let mut command = Command::new(program);
        command.env("TPM2TOOLS_TCTI", format!("swtpm:host=127.0.0.1,port={}", self.port)).args(arguments);
        run_command(command).ok();
    }

    fn command(&self, command: &[u8]) -> Vec<u8> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).expect("swtpm listens");
        stream.write_all(command).expect("sent");
        let mut answer = vec![0; HEADER_BYTES];
        stream.read_exact(&mut answer).expect("an answer");
        answer
    }
}
