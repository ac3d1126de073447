//! The data files that the suite copies from, which do not come with it: tables of the same shape and size.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Result;

/// Small ones: name and content.
const SMALL: &[(&str, &str)] = &[
    ("person", "mike\t40\t(3.1,6.2)\njoe\t20\t(5.5,2.5)\nsally\t34\t(3.8,45.8)\n"),
    ("emp", "sharon\t25\t(15,12)\t1000\tsam\nsam\t30\t(10,5)\t2000\tbill\nbill\t20\t(11,10)\t1000\tsharon\n"),
    ("student", "fred\t28\t(3.1,-1.5)\t3.7\nlarry\t60\t(21.8,4.9)\t3.1\n"),
    ("stud_emp", "jeff\t23\t(8,7.7)\t600\tsharon\t3.5\t\\N\ncim\t30\t(10.5,4.7)\t400\t\\N\t3.4\t\\N\n"),
    ("streets", "I- 80\t[(-121,37),(-122,38)]\nState Hwy 1\t[(-120,36),(-121,37)]\nOak St\t[(1,2),(3,4)]\n"),
    ("agg", "56\t7.8\n100\t99.097\n0\t0.09561\n42\t324.78\n"),
    ("hash", "1\t2\n3\t4\n5\t6\n"),
    ("rect", "(1,2),(3,4)\n(5,6),(7,8)\n"),
    ("array", "1\t{92,75}\t{AAA,BBB}\n2\t{95}\t{CCC}\n"),
    ("jsonb", "{\"line\":1, \"date\":\"CB\"}\n{\"wait\":null, \"line\":2}\n"),
    ("tsearch", "dr qu\t'dr' 'qu'\n"),
    ("desc", "1\ttext\n"),
];

/// Writes all of them to `directory/data`.
///
/// # Errors
/// The disk.
pub(super) fn write(directory: &Path) -> Result<()> {
    let data = directory.join("data");
    std::fs::create_dir(&data)?;
    for (name, text) in SMALL {
        std::fs::write(data.join(format!("{name}.data")), text)?;
    }
    std::fs::write(data.join("onek.data"), wisconsin(1_000))?;
    std::fs::write(data.join("tenk.data"), wisconsin(10_000))?;
    Ok(())
}

/// A table of the Wisconsin benchmark, as the suite has two of them.
fn wisconsin(rows: u32) -> String {
    let mut text = String::new();
    for row in 0..rows {
        let unique = (row * 7919 + 17) % rows;
        write!(text, "{unique}\t{row}").unwrap();
        for modulus in [2, 4, 10, 20, 100, 1_000, 2_000, 5_000, rows] {
            write!(text, "\t{}", unique % modulus).unwrap();
        }
        let strings = ["AAAAxx", "HHHHxx", "OOOOxx", "VVVVxx"];
        let string = strings[row as usize % strings.len()];
        let hundred = unique % 100;
        let (odd, even) = (hundred * 2, hundred * 2 + 1);
        writeln!(text, "\t{odd}\t{even}\t{}\t{}\t{string}", letters(unique), letters(row)).unwrap();
    }
    text
}

fn letters(number: u32) -> String {
    let letter = |digit: u32| char::from(b'A' + u8::try_from(digit % 26).unwrap());
    [letter(number), letter(number / 26), letter(number / 676), 'A', 'A', 'A'].iter().collect()
}
