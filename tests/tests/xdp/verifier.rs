//! What the programs cost the verifier, and the stack they take, on the kernel that runs.
//!
//! The record holds both for some kernels; `cargo xtask test vm` looks at them all, and with `--accept` writes it anew.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd};
use std::path::Path;

use aya::Ebpf;
use aya::programs::Program;
use serde_json::Value;

use super::rig::in_rig;
use super::server::in_server;

const RECORD: &str = "../docs/benchmarks/verifier.json";
/// Names a file for the figures: one a line, as the virtual machine says them.
const FIGURES: &str = "VERIFIER_FIGURES";
/// Set where the figures are not compared, for they will be the record.
const ACCEPT: &str = "VERIFIER_ACCEPT";
/// More than the record by more than so much is too much.
const GROWTH_MAX_PERCENT: u64 = 5;

/// The program where there is a server as well, by the names of the record.
const WITH_SERVER: &str = "relay_and_server";

/// What is known of a program, by the names of the record.
type Figures = BTreeMap<&'static str, u64>;

#[test]
fn no_program_costs_the_verifier_or_the_stack_more_than_the_record_allows() {
    let mut programs = BTreeMap::new();
    in_rig(|rig| programs = measure(rig.ebpf()));
    let mut both = BTreeMap::new();
    in_server(|rig| both = measure(rig.ebpf()));
    let relay = both.remove("relay").expect("the program is in the object");
    programs.insert(WITH_SERVER.into(), relay);
    assert!(programs.contains_key("relay"), "{programs:?}");
    if let Some(file) = std::env::var_os(FIGURES) {
        fs::write(file, lines(&programs)).unwrap();
    }
    if std::env::var_os(ACCEPT).is_some() {
        return;
    }
    let record = Path::new(env!("CARGO_MANIFEST_DIR")).join(RECORD);
    let record: Value = serde_json::from_str(&fs::read_to_string(record).unwrap()).unwrap();
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let grown = grown(&record, series(&release), &programs);
    assert!(
        grown.is_empty(),
        "{}\nIf it is worth that, `cargo xtask test vm --accept` writes the record anew.",
        grown.join("\n")
    );
}

/// The first two numbers of a release.
fn series(release: &str) -> &str {
    let end = release.match_indices(|c: char| !c.is_ascii_digit()).nth(1);
    end.map_or(release, |(at, _)| &release[..at])
}

fn lines(programs: &BTreeMap<String, Figures>) -> String {
    let mut text = String::new();
    for (program, figures) in programs {
        for (what, value) in figures {
            writeln!(text, "record/{program}/{what} count {value}").unwrap();
        }
    }
    text
}

/// What is more than the record for that kernel allows; nothing if there is none for it.
fn grown(record: &Value, series: &str, programs: &BTreeMap<String, Figures>) -> Vec<String> {
    let Some(recorded) = record.get(series) else {
        return Vec::new();
    };
    let mut grown = Vec::new();
    for (program, figures) in programs {
        for (what, now) in figures {
            match recorded[program][what].as_u64() {
                None => grown.push(format!("{program}: {what}: {now}, not in the record of {series}")),
                Some(then) if now * 100 > then * (100 + GROWTH_MAX_PERCENT) => grown.push(format!(
                    "{program}: {what}: {now}, more than {GROWTH_MAX_PERCENT} % above the {then} of the record of {series}"
                )),
                Some(_) => {}
            }
        }
    }
    grown
}

fn measure(ebpf: &mut Ebpf) -> BTreeMap<String, Figures> {
    let measured = ebpf.programs_mut().map(|(name, program)| {
        let Program::Xdp(program) = program else {
            panic!("{name} is no XDP program");
        };
        if program.fd().is_err() {
            program.load().unwrap();
        }
        let instructions = program.info().unwrap().verified_instruction_count();
        let code = translated(program.fd().unwrap().as_fd()).unwrap();
        let figures = [
            (
                "instructions",
                instructions.expect("kernels from 5.16 on tell").into(),
            ),
            ("stack_bytes", deepest(&code)),
        ];
        (name.to_owned(), figures.into())
    });
    measured.collect()
}

/// `struct bpf_insn`.
type Instruction = [u8; 8];

/// The beginning of `struct bpf_prog_info`.
#[repr(C)]
#[derive(Default)]
struct ProgramInfo {
    kind: u32,
    id: u32,
    tag: [u8; 8],
    jited_len: u32,
    translated_len: u32,
    jited: u64,
    translated: u64,
}

/// `BPF_OBJ_GET_INFO_BY_FD`'s part of `union bpf_attr`.
#[repr(C)]
struct Ask {
    fd: u32,
    len: u32,
    info: u64,
}

const BPF_OBJ_GET_INFO_BY_FD: libc::c_long = 15;

/// The instructions of a program as the verifier left them.
fn translated(program: BorrowedFd<'_>) -> io::Result<Vec<Instruction>> {
    let mut info = ProgramInfo::default();
    ask(program, &mut info)?;
    let mut code =
        vec![Instruction::default(); info.translated_len as usize / size_of::<Instruction>()];
    info = ProgramInfo {
        translated_len: info.translated_len,
        translated: code.as_mut_ptr() as u64,
        ..ProgramInfo::default()
    };
    ask(program, &mut info)?;
    Ok(code)
}

fn ask(program: BorrowedFd<'_>, info: &mut ProgramInfo) -> io::Result<()> {
    let ask = Ask {
        fd: program.as_raw_fd().cast_unsigned(),
        len: u32::try_from(size_of::<ProgramInfo>()).unwrap(),
        info: std::ptr::from_mut(info) as u64,
    };
    // SAFETY: `info` is as long as said, and what it points to as long as it says.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            BPF_OBJ_GET_INFO_BY_FD,
            &raw const ask,
            size_of::<Ask>(),
        )
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// The lowest byte below the frame pointer that the program touches or gives to a helper.
fn deepest(code: &[Instruction]) -> u64 {
    const FRAME: u8 = 10;
    const LOAD_DOUBLE: u8 = 0x18;
    const MOVE: u8 = 0xbf;
    const ADD: u8 = 0x07;
    let mut most = 0;
    let mut below = |offset: i32| most = most.max(u64::try_from(-offset).unwrap_or(0));
    let mut copy = None;
    let mut rest = code.iter();
    while let Some([code, registers, offset @ .., i0, i1, i2, i3]) = rest.next() {
        let (to, from) = (registers & 15, registers >> 4);
        // Class of the operation: LDX, ST, STX.
        let frame = match code & 7 {
            1 => from,
            2 | 3 => to,
            _ => 0,
        };
        if frame == FRAME {
            below(i16::from_le_bytes(*offset).into());
        }
        if *code == ADD && copy == Some(to) {
            below(i32::from_le_bytes([*i0, *i1, *i2, *i3]));
        }
        copy = (*code == MOVE && from == FRAME).then_some(to);
        if *code == LOAD_DOUBLE {
            rest.next();
        }
    }
    most
}

#[test]
fn the_stack_ends_at_the_lowest_byte_stored_loaded_or_pointed_to() {
    let store = [0x7b, 0x1a, 0xf8, 0xff, 0, 0, 0, 0]; // *(u64 *)(r10 - 8) = r1
    let load = [0x79, 0xa1, 0xf0, 0xff, 0, 0, 0, 0]; // r1 = *(u64 *)(r10 - 16)
    let copy = [0xbf, 0xa2, 0, 0, 0, 0, 0, 0]; // r2 = r10
    let lower = [0x07, 0x02, 0, 0, 0xd8, 0xff, 0xff, 0xff]; // r2 += -40
    assert_eq!(deepest(&[]), 0);
    assert_eq!(deepest(&[store]), 8);
    assert_eq!(deepest(&[load, store]), 16);
    assert_eq!(deepest(&[store, copy, lower]), 40);
    assert_eq!(deepest(&[store, lower]), 8);
    // The second half of a load of 64 bits is no instruction.
    let wide = [0x18, 0x01, 0, 0, 0, 0, 0, 0];
    assert_eq!(deepest(&[wide, load]), 0);
}

#[test]
fn growth_beyond_the_allowance_and_what_is_not_recorded_are_named() {
    let record =
        serde_json::json!({ "6.1": { "relay": { "instructions": 1000, "stack_bytes": 100 } } });
    let measured = |instructions| {
        let figures = Figures::from([("instructions", instructions), ("stack_bytes", 100)]);
        BTreeMap::from([("relay".to_owned(), figures)])
    };
    assert_eq!(series("6.1.0-56-cloud-amd64"), "6.1");
    assert_eq!(series("6.18.44\n"), "6.18");
    assert!(grown(&record, "6.1", &measured(1050)).is_empty());
    let found = grown(&record, "6.1", &measured(1051));
    assert_eq!(found.len(), 1);
    assert!(
        found[0].contains("1051") && found[0].contains("1000"),
        "{found:?}"
    );
    assert!(grown(&record, "6.18", &measured(9999)).is_empty());
    let other = measured(1).into_values().map(|f| ("other".to_owned(), f));
    assert_eq!(grown(&record, "6.1", &other.collect()).len(), 2);
}
