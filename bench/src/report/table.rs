//! Figures as a Markdown table.

use super::Figure;

/// The figures, one a row, columns aligned.
pub(crate) fn of(figures: &[Figure]) -> String {
    let rows = figures.iter().map(|figure| {
        let Figure {
            case,
            unit,
            min,
            median,
            max,
            ..
        } = figure;
        let [min, median, max] = [min, median, max].map(|value| number(*value));
        [case.clone(), min, median, max, unit.to_string()]
    });
    markdown(
        ["case", "min", "median", "max", "unit"],
        &rows.collect::<Vec<_>>(),
    )
}

/// A table whose inner columns hold numbers.
pub(super) fn markdown<const COLUMNS: usize>(
    head: [&str; COLUMNS],
    rows: &[[String; COLUMNS]],
) -> String {
    let mut widths = head.map(str::len);
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.len());
        }
    }
    let is_number = |column: usize| column > 0 && column + 1 < COLUMNS;
    let line = |cells: &[String; COLUMNS]| {
        let cells = cells.iter().zip(widths).enumerate();
        let cells = cells.map(|(column, (cell, width))| {
            if is_number(column) {
                format!(" {cell:>width$} |")
            } else {
                format!(" {cell:<width$} |")
            }
        });
        format!("|{}\n", cells.collect::<String>())
    };
    let rules = widths.into_iter().enumerate().map(|(column, width)| {
        let end = if is_number(column) { ':' } else { '-' };
        format!("{}{end}|", "-".repeat(width + 1))
    });
    let mut text = line(&head.map(str::to_owned));
    text.push_str(&format!("|{}\n", rules.collect::<String>()));
    text.extend(rows.iter().map(line));
    text
}

/// Three digits that count, and no more behind the point than there are.
pub(super) fn number(value: f64) -> String {
    let decimals = match value.abs() {
        _ if value.fract() == 0.0 => 0,
        100.0.. => 0,
        10.0.. => 1,
        1.0.. => 2,
        _ => 3,
    };
    format!("{value:.decimals$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_aligned_markdown() {
        let figure =
            |case: &str, samples| Figure::new("prog", case.into(), "ns/packet", samples).unwrap();
        let figures = [
            figure("encap/1M", vec![150.0, 148.0, 170.0]),
            figure("drop", vec![9.0]),
        ];
        let wanted = "\
| case     | min | median | max | unit      |
|----------|----:|-------:|----:|-----------|
| encap/1M | 148 |    150 | 170 | ns/packet |
| drop     |   9 |      9 |   9 | ns/packet |
";
        assert_eq!(of(&figures), wanted);
    }

    #[test]
    fn a_number_has_three_digits_that_count() {
        let shown = [7.0, 123_456.7, 43.21, 2.345, 0.0123, -42.55, 0.0].map(number);
        assert_eq!(
            shown,
            ["7", "123457", "43.2", "2.35", "0.012", "-42.5", "0"]
        );
    }
}
