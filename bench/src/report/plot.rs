//! Figures as plots.

use anyhow::{Result, anyhow};
use plotters::coord::Shift;
use plotters::prelude::*;

use super::Figure;

/// Pixels.
const WIDTH: u32 = 900;
const LINES_HEIGHT: u32 = 480;
const BAR_HEIGHT: u32 = 24;
/// Caption, axis and margins.
const FRAME_HEIGHT: u32 = 110;
const FONT: &str = "sans-serif";
const COLOURS: [RGBColor; 8] = [
    RGBColor(0x1f, 0x77, 0xb4),
    RGBColor(0xd6, 0x27, 0x28),
    RGBColor(0x2c, 0xa0, 0x2c),
    RGBColor(0xff, 0x7f, 0x0e),
    RGBColor(0x94, 0x67, 0xbd),
    RGBColor(0x8c, 0x56, 0x4b),
    RGBColor(0x17, 0xbe, 0xcf),
    RGBColor(0x7f, 0x7f, 0x7f),
];

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// Cases measured at several sizes, as lines over the sizes. `None` where there are none.
///
/// # Errors
/// The plot cannot be drawn.
pub(super) fn lines(caption: &str, unit: &str, figures: &[&Figure]) -> Result<Option<String>> {
    let mut sizes: Vec<&str> = Vec::new();
    let mut series: Vec<(&str, Vec<(i32, &Figure)>)> = Vec::new();
    for (name, size, figure) in figures.iter().filter_map(|figure| {
        let (name, size) = figure.case.split_once('/')?;
        Some((name, size, *figure))
    }) {
        if !sizes.contains(&size) {
            sizes.push(size);
        }
        match series.iter_mut().find(|(known, _)| *known == name) {
            Some((_, points)) => points.push((0, figure)),
            None => series.push((name, vec![(0, figure)])),
        }
    }
    sizes.sort_by_key(|size| magnitude(size));
    series.retain(|(_, points)| points.len() > 1);
    if series.is_empty() {
        return Ok(None);
    }
    for (x, figure) in series.iter_mut().flat_map(|(_, points)| points) {
        let of = |size: &&str| figure.case.ends_with(&format!("/{size}"));
        *x = index(sizes.iter().position(of).unwrap_or_default());
    }
    for (_, points) in &mut series {
        points.sort_by_key(|(x, _)| *x);
    }
    draw(LINES_HEIGHT, |area| {
        let mut chart = ChartBuilder::on(area)
            .caption(caption, (FONT, 18))
            .margin(12)
            .x_label_area_size(36)
            .y_label_area_size(60)
            .build_cartesian_2d(0..index(sizes.len() - 1), 0.0..top(figures))?;
        let label = |x: &i32| {
            let size = usize::try_from(*x).ok().and_then(|x| sizes.get(x));
            size.map(ToString::to_string).unwrap_or_default()
        };
        chart
            .configure_mesh()
            .disable_x_mesh()
            .x_labels(sizes.len())
            .x_label_formatter(&label)
            .y_desc(unit)
            .label_style((FONT, 13))
            .draw()?;
        for ((name, points), colour) in series.iter().zip(COLOURS.into_iter().cycle()) {
            let medians = points.iter().map(|(x, figure)| (*x, figure.median));
            chart
                .draw_series(LineSeries::new(medians, colour.stroke_width(2)))?
                .label(*name)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour));
            chart.draw_series(points.iter().map(|(x, figure)| {
                let spread = [(*x, figure.min), (*x, figure.max)];
                PathElement::new(spread, colour.stroke_width(1))
            }))?;
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperLeft)
            .background_style(WHITE.mix(0.8))
            .border_style(BLACK)
            .label_font((FONT, 13))
            .draw()?;
        Ok(())
    })
    .map(Some)
}

/// Each case as a bar to its median, with a line from minimum to maximum.
///
/// # Errors
/// The plot cannot be drawn.
pub(super) fn bars(caption: &str, unit: &str, figures: &[&Figure]) -> Result<String> {
    let rows = index(figures.len());
    let height = FRAME_HEIGHT + BAR_HEIGHT * u32::try_from(figures.len())?;
    draw(height, |area| {
        // The first case is on top.
        let of_row = |row: i32| {
            usize::try_from(rows - 1 - row)
                .ok()
                .and_then(|i| figures.get(i))
        };
        let mut chart = ChartBuilder::on(area)
            .caption(caption, (FONT, 18))
            .margin(12)
            .margin_right(30)
            .x_label_area_size(40)
            .y_label_area_size(200)
            .build_cartesian_2d(0.0..top(figures), (0..rows - 1).into_segmented())?;
        let label = |value: &SegmentValue<i32>| match value {
            SegmentValue::CenterOf(row) => of_row(*row).map(|f| f.case.clone()).unwrap_or_default(),
            SegmentValue::Exact(_) | SegmentValue::Last => String::new(),
        };
        chart
            .configure_mesh()
            .disable_y_mesh()
            .y_labels(figures.len())
            .y_label_formatter(&label)
            .x_desc(unit)
            .label_style((FONT, 13))
            .draw()?;
        let drawn = |row: i32| of_row(row).map(|figure| (row, *figure));
        chart.draw_series((0..rows).filter_map(drawn).map(|(row, figure)| {
            let (low, high) = (SegmentValue::Exact(row), SegmentValue::Exact(row + 1));
            let mut bar = Rectangle::new([(0.0, low), (figure.median, high)], COLOURS[0].filled());
            bar.set_margin(4, 4, 0, 0);
            bar
        }))?;
        chart.draw_series((0..rows).filter_map(drawn).map(|(row, figure)| {
            let middle = SegmentValue::CenterOf(row);
            PathElement::new(
                [(figure.min, middle.clone()), (figure.max, middle)],
                BLACK.stroke_width(2),
            )
        }))?;
        Ok(())
    })
}

/// Draws on a white page and gives the SVG.
fn draw(
    height: u32,
    on: impl FnOnce(&Area<'_>) -> Result<(), DrawingAreaErrorKind<std::io::Error>>,
) -> Result<String> {
    let mut svg = String::new();
    let area = SVGBackend::with_string(&mut svg, (WIDTH, height)).into_drawing_area();
    let drawn = area
        .fill(&WHITE)
        .and_then(|()| on(&area))
        .and_then(|()| area.present());
    drawn.map_err(|error| anyhow!("drawing a plot: {error}"))?;
    drop(area);
    Ok(svg)
}

/// A little above the largest value.
fn top(figures: &[&Figure]) -> f64 {
    let largest = figures.iter().map(|figure| figure.max).fold(0.0, f64::max);
    if largest > 0.0 { largest * 1.05 } else { 1.0 }
}

fn index(n: usize) -> i32 {
    i32::try_from(n).unwrap_or(i32::MAX)
}

/// `1k` is a thousand and `4M` four million, for their order.
fn magnitude(size: &str) -> u64 {
    let (digits, factor) = match size.strip_suffix('k') {
        Some(digits) => (digits, 1_000),
        None => size
            .strip_suffix('M')
            .map_or((size, 1), |digits| (digits, 1_000_000)),
    };
    digits
        .parse::<u64>()
        .map_or(u64::MAX, |n| n.saturating_mul(factor))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure(case: &str, median: f64) -> Figure {
        let samples = vec![median - 1.0, median, median + 1.0];
        Figure::new("prog", case.into(), "ns/packet", samples).unwrap()
    }

    #[test]
    fn sizes_are_in_the_order_of_their_magnitude() {
        let mut sizes = ["4M", "1", "100k", "1M", "1k", "other"];
        sizes.sort_by_key(|size| magnitude(size));
        assert_eq!(sizes, ["1", "1k", "100k", "1M", "4M", "other"]);
    }

    #[test]
    fn every_bar_has_the_name_of_its_case() {
        let figures = [
            figure("drop", 9.0),
            figure("punt", 20.0),
            figure("foreign-arp", 8.0),
        ];
        let svg = bars("Bars", "ns/packet", &figures.each_ref()).unwrap();
        assert!(svg.trim_start().starts_with("<svg"), "{svg}");
        for text in ["Bars", "drop", "punt", "foreign-arp", "ns/packet"] {
            assert!(
                svg.contains(&format!("\n{text}\n")),
                "{text} is not in {svg}"
            );
        }
    }

    #[test]
    fn lines_are_drawn_of_cases_measured_at_several_sizes() {
        let figures = [
            figure("encap/1", 40.0),
            figure("encap/1M", 150.0),
            figure("zipf/1M", 90.0),
            figure("drop", 9.0),
        ];
        let svg = lines("Lines", "ns/packet", &figures.each_ref())
            .unwrap()
            .unwrap();
        for text in ["encap", "1", "1M"] {
            assert!(
                svg.contains(&format!("\n{text}\n")),
                "{text} is not in {svg}"
            );
        }
        assert!(!svg.contains("zipf") && !svg.contains("drop"), "{svg}");
        let single = [&figures[2], &figures[3]];
        assert_eq!(lines("Lines", "ns/packet", &single).unwrap(), None);
    }
}
