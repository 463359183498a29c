//! How quantities grow with the number of shares, recipients, objects and credentials, as one picture.

use std::path::Path;

use plotters::coord::Shift;
use plotters::prelude::*;

/// The panels of one number of something are a row.
#[derive(Default)]
pub struct Plot {
    panels: Vec<Panel>,
}

struct Panel {
    quantity: &'static str,
    over: &'static str,
    curves: Vec<Curve>,
}

struct Curve {
    name: &'static str,
    points: Vec<(f64, f64)>,
}

const COLOURS: [RGBColor; 2] = [RGBColor(0, 90, 181), RGBColor(220, 50, 32)];
const COLUMNS: usize = 3;
const SIZE: (u32, u32) = (360, 340);

impl Plot {
    /// One more point of a curve: `at` so many of what it is `over`.
    pub fn add(&mut self, over: &'static str, quantity: &'static str, name: &'static str, at: usize, value: f64) {
        let is_panel = |panel: &Panel| panel.over == over && panel.quantity == quantity;
        let panel = find_or_add(&mut self.panels, is_panel, Panel { quantity, over, curves: Vec::new() });
        let is_curve = |curve: &Curve| curve.name == name;
        let curve = find_or_add(&mut panel.curves, is_curve, Curve { name, points: Vec::new() });
        curve.points.push((at as f64, value));
    }

    pub fn draw(&self, file: &Path) -> Result<(), String> {
        let mut rows: Vec<Vec<&Panel>> = Vec::new();
        for panel in &self.panels {
            match rows.last_mut() {
                Some(row) if row[0].over == panel.over && row.len() < COLUMNS => row.push(panel),
                _ => rows.push(vec![panel]),
            }
        }
        let mut picture = String::new();
        {
            let size = (SIZE.0 * COLUMNS as u32, SIZE.1 * rows.len().max(1) as u32);
            let root = SVGBackend::with_string(&mut picture, size).into_drawing_area();
            root.fill(&WHITE).map_err(|e| e.to_string())?;
            let areas = root.split_evenly((rows.len().max(1), COLUMNS));
            for (row, areas) in rows.iter().zip(areas.chunks(COLUMNS)) {
                for (panel, area) in row.iter().zip(areas) {
                    panel.draw(area).map_err(|e| e.to_string())?;
                }
            }
            root.present().map_err(|e| e.to_string())?;
        }
        std::fs::write(file, picture).map_err(|e| format!("{}: {e}", file.display()))
    }
}

fn find_or_add<T>(all: &mut Vec<T>, fits: impl Fn(&T) -> bool, new: T) -> &mut T {
    let at = all.iter().position(fits).unwrap_or_else(|| {
        all.push(new);
        all.len() - 1
    });
    &mut all[at]
}

impl Panel {
    fn draw<DB: DrawingBackend>(
        &self,
        area: &DrawingArea<DB, Shift>,
    ) -> Result<(), DrawingAreaErrorKind<DB::ErrorType>> {
        let points = || self.curves.iter().flat_map(|curve| &curve.points);
        let width = points().map(|(at, _)| *at).fold(1.0, f64::max);
        let height = points().map(|(_, value)| *value).fold(1.0, f64::max);
        let mut chart = ChartBuilder::on(area)
            .caption(self.quantity, ("sans-serif", 16))
            .margin(12)
            .x_label_area_size(36)
            .y_label_area_size(48)
            .build_cartesian_2d(0.0..width * 1.05, 0.0..height * 1.15)?;
        chart.configure_mesh().x_desc(self.over).x_labels(6).y_labels(6).light_line_style(WHITE).draw()?;
        for (curve, colour) in self.curves.iter().zip(COLOURS) {
            chart
                .draw_series(LineSeries::new(curve.points.clone(), colour.stroke_width(2)).point_size(4))?
                .label(curve.name)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], colour.stroke_width(2)));
        }
        if self.curves.len() > 1 {
            chart
                .configure_series_labels()
                .position(SeriesLabelPosition::UpperLeft)
                .background_style(WHITE)
                .border_style(BLACK)
                .draw()?;
        }
        Ok(())
    }
}
