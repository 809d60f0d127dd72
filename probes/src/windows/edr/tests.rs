use super::*;

#[test]
fn the_program_of_a_service_is_told_from_its_arguments() {
    for (command, program) in [
        (
            r#""C:\Program Files\CrowdStrike\CSFalconService.exe""#,
            r"c:\program files\crowdstrike\csfalconservice.exe",
        ),
        (r#""C:\Program Files\x\a.exe" --service"#, r"c:\program files\x\a.exe"),
        (r"C:\Windows\system32\a.exe -k b", r"c:\windows\system32\a.exe"),
        (
            r#""%ProgramFiles%\Windows Defender\MsMpEng.exe""#,
            r"c:\program files\windows defender\msmpeng.exe",
        ),
        (r"\SystemRoot\a.exe", r"c:\windows\a.exe"),
        (r"\??\C:\a.exe", r"c:\a.exe"),
    ] {
        assert_eq!(image_of(command).as_deref(), Some(program), "{command}");
    }
    for command in ["", r"C:\Program Files\x\a.exe -k", r"a.exe", r"C:\a.exe.bak", r#""C:\a.exe"#] {
        assert_eq!(image_of(command), None, "{command}");
    }
}

#[test]
fn a_version_after_a_name_is_no_other_name() {
    for version in ["", "21.3", "_7.5.1", "-2"] {
        assert!(is_version(version), "{version}");
    }
    for name in ["Helper", "7a", " 7"] {
        assert!(!is_version(name), "{name}");
    }
}
