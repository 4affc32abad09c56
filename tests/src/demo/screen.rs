//! A table that changes in place on a terminal, and now and then a few lines elsewhere.

use std::io::{self, IsTerminal, Write};
use std::mem;

/// Standard output.
#[derive(Debug)]
pub struct Screen {
    is_terminal: bool,
    /// Lines of the table that stands there.
    standing: usize,
}

impl Screen {
    /// The screen of this process.
    pub fn new() -> Self {
        Self {
            is_terminal: io::stdout().is_terminal(),
            standing: 0,
        }
    }

    /// Whether somebody may be looking.
    pub const fn is_terminal(&self) -> bool {
        self.is_terminal
    }

    /// Prints text that stays, in place of the table if one stands there.
    ///
    /// # Errors
    /// Nobody reads any more.
    pub fn print(&mut self, text: &str) -> io::Result<()> {
        let up = wipe(mem::take(&mut self.standing));
        let mut out = io::stdout().lock();
        write!(out, "{up}{text}")?;
        out.flush()
    }

    /// Shows `table` in the place of the one before, cut to the terminal's size.
    ///
    /// # Errors
    /// Nobody reads any more.
    pub fn redraw(&mut self, table: &str) -> io::Result<()> {
        let cut = cut(table, size());
        let lines = cut.lines().count();
        self.print(&cut)?;
        self.standing = lines;
        Ok(())
    }
}

impl Default for Screen {
    fn default() -> Self {
        Self::new()
    }
}

/// Back to the first of `lines` lines, with everything below erased.
fn wipe(lines: usize) -> String {
    if lines == 0 {
        String::new()
    } else {
        format!("\x1b[{lines}A\r\x1b[J")
    }
}

/// A line that wraps or scrolls away could not be redrawn.
fn cut(table: &str, (rows, columns): (usize, usize)) -> String {
    let lines = table.lines().take(rows.saturating_sub(1));
    lines
        .flat_map(|line| line.chars().take(columns).chain(['\n']))
        .collect()
}

/// Rows and columns of the terminal; those of old if it does not say.
fn size() -> (usize, usize) {
    let mut size = libc::winsize {
        ws_row: 0,
        ws_col: 0,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    // SAFETY: the pointer is to what this request fills.
    let asked = unsafe { libc::ioctl(libc::STDOUT_FILENO, libc::TIOCGWINSZ, &raw mut size) };
    if asked == 0 && size.ws_row > 0 && size.ws_col > 0 {
        (size.ws_row.into(), size.ws_col.into())
    } else {
        (24, 80)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_cut_to_the_terminal() {
        assert_eq!(cut("abcdef\ngh\nij\nkl\n", (4, 3)), "abc\ngh\nij\n");
    }

    #[test]
    fn the_first_table_erases_nothing() {
        assert_eq!(wipe(0), "");
        assert_eq!(wipe(7), "\x1b[7A\r\x1b[J");
    }
}
