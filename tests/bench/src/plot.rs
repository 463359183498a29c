//! Memory, calls and time over the number of shares, as one picture.

use std::path::Path;

use plotters::prelude::*;

use crate::grow::Point;

type Value = fn(&Point) -> f64;

const PANELS: [(&str, &[(&str, Value)]); 3] = [
    ("memory, MB", &[("steady", |p| p.steady), ("while they are made", |p| p.peak)]),
    ("calls of a restart", &[("calls", |p| p.restart_calls)]),
    ("restart until an edit is carried out, s", &[("seconds", |p| p.restart_seconds)]),
];
const COLOURS: [RGBColor; 2] = [RGBColor(0, 90, 181), RGBColor(220, 50, 32)];

pub fn draw(file: &Path, points: &[Point]) -> Result<(), String> {
    let mut picture = String::new();
    {
        let root = SVGBackend::with_string(&mut picture, (1080, 340)).into_drawing_area();
        root.fill(&WHITE).map_err(|e| e.to_string())?;
        for (area, (title, lines)) in root.split_evenly((1, PANELS.len())).iter().zip(PANELS) {
            panel(area, title, lines, points).map_err(|e| e.to_string())?;
        }
        root.present().map_err(|e| e.to_string())?;
    }
    std::fs::write(file, picture).map_err(|e| format!("{}: {e}", file.display()))
}

fn panel<DB: DrawingBackend>(
    area: &DrawingArea<DB, plotters::coord::Shift>,
    title: &str,
    lines: &[(&str, Value)],
    points: &[Point],
) -> Result<(), DrawingAreaErrorKind<DB::ErrorType>> {
    let shares = points.iter().map(|p| p.shares as f64).fold(1.0, f64::max);
    let most = lines.iter().flat_map(|(_, value)| points.iter().map(value)).fold(1.0, f64::max);
    let mut chart = ChartBuilder::on(area)
        .caption(title, ("sans-serif", 16))
        .margin(12)
        .x_label_area_size(36)
        .y_label_area_size(48)
        .build_cartesian_2d(0.0..shares * 1.05, 0.0..most * 1.15)?;
    chart.configure_mesh().x_desc("shares").x_labels(6).y_labels(6).light_line_style(WHITE).draw()?;
    for ((name, value), colour) in lines.iter().zip(COLOURS) {
        let line: Vec<(f64, f64)> = points.iter().map(|p| (p.shares as f64, value(p))).collect();
        chart
            .draw_series(LineSeries::new(line.clone(), colour.stroke_width(2)).point_size(4))?
            .label(*name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], colour.stroke_width(2)));
    }
    if lines.len() > 1 {
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperLeft)
            .background_style(WHITE)
            .border_style(BLACK)
            .draw()?;
    }
    Ok(())
}
