//! Pictures as SVG, drawn by plotters: lines over an axis, and bars. Text is text, set by whoever shows the picture.
//!
//! Colours are those of a light page; [`STYLE`] replaces each of them on a dark one, so that a picture fits into either,
//! alone or in the report's page.

use std::error::Error;

use plotters::coord::ranged1d::{DefaultFormatting, KeyPointHint, Ranged};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

/// What every picture needs to be readable on a dark page, as CSS.
pub const STYLE: &str = include_str!("plot.css");

/// Width and height of a picture in pixels.
pub type Size = (u32, u32);

/// Text and axes.
const INK: RGBColor = RGBColor(0x1f, 0x23, 0x28);
/// Text of less weight.
const MUTED: RGBColor = RGBColor(0x59, 0x63, 0x6e);
/// Lines of the grid.
const GRID: RGBColor = RGBColor(0xd1, 0xd9, 0xe0);
/// Bands behind lines: seconds in which a server was at work in the background.
const BAND: RGBColor = RGBColor(0xff, 0xe7, 0xb3);
/// One for each series; after the last comes the first again. `plot.css` knows them all.
const SERIES: &[RGBColor] = &[
    RGBColor(0x0b, 0x62, 0xc4),
    RGBColor(0xd1, 0x48, 0x0c),
    RGBColor(0x1a, 0x7f, 0x37),
    RGBColor(0x82, 0x50, 0xdf),
    RGBColor(0x9a, 0x67, 0x00),
    RGBColor(0xbf, 0x39, 0x89),
    RGBColor(0x0a, 0x7d, 0x91),
    RGBColor(0x57, 0x60, 0x6a),
];
/// Height of text in pixels, as plotters counts: a letter of the SVG is a fifth less.
const FONT: u32 = 15;
/// Width of a letter of that height, about.
const LETTER: f64 = 7.2;
/// Height of a line of the legend.
const LEGEND_LINE: i32 = 19;
/// Height of a bar and of the text above it.
const BAR: i32 = 16;

/// How values are placed along an axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// Evenly.
    Linear,
    /// By their logarithm; values must be above 0.
    Log,
}

/// An axis.
#[derive(Clone, Debug)]
pub struct Axis {
    /// What it shows, with its unit.
    pub label: String,
    /// How values are placed.
    pub scale: Scale,
    /// Values with a mark, and what stands there; none: some round numbers.
    pub ticks: Vec<(f64, String)>,
}

/// Lines over a common axis.
#[derive(Clone, Debug)]
pub struct Lines {
    /// Below the plot.
    pub x: Axis,
    /// Left of it.
    pub y: Axis,
    /// Names and points of the lines.
    pub series: Vec<(String, Vec<(f64, f64)>)>,
    /// Ranges of x with another ground.
    pub bands: Vec<(f64, f64)>,
}

/// Bars, one below the other, each of one or several parts.
#[derive(Clone, Debug)]
pub struct Bars {
    /// What their length means, with its unit.
    pub label: String,
    /// Names of the parts; a single empty one when there is nothing to tell apart.
    pub parts: Vec<String>,
    /// Name of each bar, and the lengths of its parts.
    pub bars: Vec<(String, Vec<f64>)>,
    /// Bars that are not ours, by their numbers: they have another colour.
    pub others: Vec<usize>,
    /// A length with a line through all bars, such as that of the one they are compared with.
    pub mark: Option<f64>,
}

/// A picture.
#[derive(Clone, Debug)]
pub enum Plot {
    /// See [`Lines`].
    Lines(Lines),
    /// See [`Bars`].
    Bars(Bars),
}

impl Plot {
    /// The SVG, `width` pixels wide; lines have the height of `size`, bars what they need.
    ///
    /// # Errors
    /// The drawing library refuses: never with finite figures.
    pub fn svg(&self, size: Size) -> Result<String, Box<dyn Error>> {
        let mut svg = String::new();
        let size = match self {
            Self::Lines(_) => size,
            Self::Bars(bars) => (size.0, bars.height(size.0)),
        };
        {
            let root = SVGBackend::with_string(&mut svg, size).into_drawing_area();
            match self {
                Self::Lines(lines) => lines.draw(&root)?,
                Self::Bars(bars) => bars.draw(&root)?,
            }
            root.present()?;
        }
        Ok(svg)
    }
}

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

fn color(series: usize) -> RGBColor {
    SERIES[series % SERIES.len()]
}

fn text(color: RGBColor) -> TextStyle<'static> {
    ("sans-serif", FONT as i32).into_font().color(&color)
}

/// Where names stand when there are `width` pixels: x and line of each, and the number of lines.
fn legend_places(names: &[&str], width: u32) -> (Vec<(i32, i32)>, i32) {
    let (mut x, mut line, mut places) = (0, 0, Vec::new());
    for name in names {
        let needed = 22 + (name.chars().count() as f64 * LETTER) as i32 + 12;
        if x > 0 && x + needed > width as i32 {
            (x, line) = (0, line + 1);
        }
        places.push((x, line));
        x += needed;
    }
    (places, if names.is_empty() { 0 } else { line + 1 })
}

/// Draws names with their colours at the top of `root`; returns the height they take.
fn legend(root: &Area<'_>, names: &[&str]) -> Result<i32, Box<dyn Error>> {
    let (places, lines) = legend_places(names, root.dim_in_pixel().0);
    for (series, (name, (x, line))) in names.iter().zip(&places).enumerate() {
        let y = line * LEGEND_LINE;
        root.draw(&Rectangle::new([(*x, y + 5), (x + 14, y + 12)], color(series).filled()))?;
        root.draw(&Text::new((*name).to_owned(), (x + 20, y + 2), text(INK)))?;
    }
    Ok(lines * LEGEND_LINE)
}

impl Lines {
    fn draw(&self, root: &Area<'_>) -> Result<(), Box<dyn Error>> {
        let names: Vec<&str> = self.series.iter().map(|series| series.0.as_str()).collect();
        let top = legend(root, &names)? + 8;
        let place = |value: f64, axis: &Axis| match axis.scale {
            Scale::Linear => value,
            Scale::Log => value.max(1e-9).ln(),
        };
        let points = || self.series.iter().flat_map(|series| &series.1);
        let x_range = range(points().map(|point| place(point.0, &self.x)), &self.x);
        let y_range = range(points().map(|point| place(point.1, &self.y)), &self.y);
        let (x_ticks, y_ticks) = (ticks(&self.x, &x_range), ticks(&self.y, &y_range));
        let label_width = y_ticks.iter().map(|tick| tick.1.chars().count()).max().unwrap_or(0);
        let mut chart = ChartBuilder::on(root)
            .margin_top(top)
            // Half of the axis's name would stand outside of the picture.
            .margin_left(6)
            .margin_right(14)
            .margin_bottom(2)
            .x_label_area_size(40)
            .y_label_area_size(32 + (label_width as f64 * LETTER) as i32)
            .build_cartesian_2d(Marked::new(&x_range, &x_ticks), Marked::new(&y_range, &y_ticks))?;
        for &(from, to) in &self.bands {
            let (from, to) = (place(from, &self.x).max(x_range.0), place(to, &self.x).min(x_range.1));
            let band = Rectangle::new([(from, y_range.0), (to, y_range.1)], BAND.filled());
            chart.draw_series(std::iter::once(band))?;
        }
        let show = |ticks: Vec<(f64, String)>| {
            move |at: &f64| {
                let nearest = ticks
                    .iter()
                    .min_by(|a, b| (a.0 - at).abs().total_cmp(&(b.0 - at).abs()));
                nearest.map_or(String::new(), |tick| tick.1.clone())
            }
        };
        let (show_x, show_y) = (show(x_ticks), show(y_ticks));
        chart
            .configure_mesh()
            .bold_line_style(GRID)
            .light_line_style(TRANSPARENT)
            .axis_style(MUTED)
            .label_style(text(MUTED))
            .axis_desc_style(text(INK))
            .x_desc(self.x.label.as_str())
            .y_desc(self.y.label.as_str())
            .x_label_formatter(&show_x)
            .y_label_formatter(&show_y)
            .draw()?;
        for (series, (_, line)) in self.series.iter().enumerate() {
            let placed: Vec<(f64, f64)> = line
                .iter()
                .map(|p| (place(p.0, &self.x), place(p.1, &self.y)))
                .collect();
            let few = placed.len() <= 12;
            chart.draw_series(LineSeries::new(placed.iter().copied(), color(series).stroke_width(2)))?;
            if few {
                let dot = |&point: &(f64, f64)| Circle::new(point, 3, color(series).filled());
                chart.draw_series(placed.iter().map(dot))?;
            }
        }
        Ok(())
    }
}

/// A range of numbers whose marks are where we say.
struct Marked {
    low: f64,
    high: f64,
    marks: Vec<f64>,
}

impl Marked {
    fn new(range: &(f64, f64), ticks: &[(f64, String)]) -> Self {
        Self {
            low: range.0,
            high: range.1,
            marks: ticks.iter().map(|tick| tick.0).collect(),
        }
    }
}

impl Ranged for Marked {
    type FormatOption = DefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        let part = (value - self.low) / (self.high - self.low);
        limit.0 + (part * f64::from(limit.1 - limit.0)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        // Lines between the marks, which others would draw, are none.
        match hint.weight() {
            plotters::coord::ranged1d::KeyPointWeight::Bold => self.marks.clone(),
            plotters::coord::ranged1d::KeyPointWeight::Any => Vec::new(),
        }
    }

    fn range(&self) -> std::ops::Range<f64> {
        self.low..self.high
    }
}

/// From the lowest to the highest, a little wider; from 0 on a linear axis.
fn range(placed: impl Iterator<Item = f64>, axis: &Axis) -> (f64, f64) {
    let marks = axis.ticks.iter().map(|tick| match axis.scale {
        Scale::Linear => tick.0,
        Scale::Log => tick.0.max(1e-9).ln(),
    });
    let (low, high) = placed
        .chain(marks)
        .filter(|value| value.is_finite())
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
            (low.min(value), high.max(value))
        });
    if low > high {
        return (0.0, 1.0);
    }
    match axis.scale {
        Scale::Linear => (low.min(0.0), if high > 0.0 { high * 1.05 } else { 1.0 }),
        Scale::Log => (low - 0.1, high + 0.1),
    }
}

/// Where marks are, already placed, and what stands there.
fn ticks(axis: &Axis, range: &(f64, f64)) -> Vec<(f64, String)> {
    let placed = |value: f64| match axis.scale {
        Scale::Linear => value,
        Scale::Log => value.ln(),
    };
    if !axis.ticks.is_empty() {
        return axis
            .ticks
            .iter()
            .map(|(value, name)| (placed(*value), name.clone()))
            .collect();
    }
    let values = match axis.scale {
        Scale::Linear => {
            let step = round_up(range.1 / 5.0);
            (0..=(range.1 / step) as u32).map(|n| f64::from(n) * step).collect()
        }
        Scale::Log => decades(range.0.exp(), range.1.exp()),
    };
    values.into_iter().map(|value| (placed(value), short(value))).collect()
}

/// 1, 2 or 5 times a power of ten, not below `value`.
fn round_up(value: f64) -> f64 {
    let decade = 10_f64.powf(value.max(1e-9).log10().floor());
    [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .map(|step| step * decade)
        .find(|&step| step >= value * 0.999_999)
        .unwrap_or(10.0 * decade)
}

/// Powers of ten in a range, with 2 and 5 times them when they are few.
fn decades(low: f64, high: f64) -> Vec<f64> {
    let few = (high / low).log10() < 2.5;
    let mut values = Vec::new();
    let mut decade = 10_f64.powf(low.log10().floor());
    while decade <= high {
        let steps: &[f64] = if few { &[1.0, 2.0, 5.0] } else { &[1.0] };
        values.extend(
            steps
                .iter()
                .map(|step| step * decade)
                .filter(|&v| v >= low && v <= high),
        );
        decade *= 10.0;
    }
    values
}

/// A number in few characters: 1.5M, 300k, 20, 0.25.
pub fn short(value: f64) -> String {
    let (scaled, unit) = match value.abs() {
        v if v >= 1e6 => (value / 1e6, "M"),
        v if v >= 1e3 => (value / 1e3, "k"),
        _ => (value, ""),
    };
    let text = match scaled.abs() {
        v if v >= 100.0 => format!("{scaled:.0}"),
        v if v >= 10.0 => format!("{scaled:.1}"),
        _ => format!("{scaled:.2}"),
    };
    let text = if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.')
    } else {
        &text
    };
    format!("{text}{unit}")
}

impl Bars {
    fn names(&self) -> Vec<&str> {
        let named = self.parts.iter().map(String::as_str);
        named.filter(|name| !name.is_empty()).collect()
    }

    fn height(&self, width: u32) -> u32 {
        let (_, lines) = legend_places(&self.names(), width);
        (lines * LEGEND_LINE + self.bars.len() as i32 * (2 * BAR + 10) + LEGEND_LINE + 10) as u32
    }

    fn draw(&self, root: &Area<'_>) -> Result<(), Box<dyn Error>> {
        let mut y = legend(root, &self.names())? + 4;
        let longest = self
            .bars
            .iter()
            .map(|bar| bar.1.iter().sum::<f64>())
            .fold(0.0, f64::max);
        // Room for the figure behind the longest bar.
        let room = f64::from(root.dim_in_pixel().0) - 64.0;
        let pixels = |length: f64| (length / longest.max(1e-9) * room).round() as i32;
        let top = y;
        for (number, (name, parts)) in self.bars.iter().enumerate() {
            let first = usize::from(self.others.contains(&number));
            root.draw(&Text::new(name.clone(), (0, y), text(INK)))?;
            y += BAR;
            let (mut from, whole) = (0.0, parts.iter().sum::<f64>());
            for (part, length) in parts.iter().enumerate() {
                let (left, right) = (pixels(from), pixels(from + length));
                from += length;
                if right > left {
                    root.draw(&Rectangle::new(
                        [(left, y + 2), (right, y + BAR)],
                        color(first + part).filled(),
                    ))?;
                }
            }
            root.draw(&Text::new(short(whole), (pixels(whole) + 6, y + 2), text(INK)))?;
            y += BAR + 10;
        }
        if let Some(at) = self.mark.filter(|mark| *mark <= longest).map(pixels) {
            root.draw(&PathElement::new([(at, top), (at, y - 6)], MUTED.stroke_width(1)))?;
        }
        let style = text(MUTED).pos(Pos::new(HPos::Left, VPos::Top));
        root.draw(&Text::new(self.label.clone(), (0, y), style))?;
        Ok(())
    }
}

/// A picture for itself: its style is in it, and its size that of the place it is shown in.
pub fn alone(svg: &str) -> String {
    svg.replacen('>', &format!("><style>{STYLE}</style>"), 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn axis(scale: Scale, ticks: &[(f64, &str)]) -> Axis {
        Axis {
            label: "requests/s".into(),
            scale,
            ticks: ticks.iter().map(|&(value, name)| (value, name.to_owned())).collect(),
        }
    }

    #[test]
    fn lines_have_their_names_marks_and_points() {
        let plot = Plot::Lines(Lines {
            x: axis(Scale::Log, &[(1.0, "one"), (16.0, "sixteen")]),
            y: axis(Scale::Linear, &[]),
            series: vec![
                ("ours".into(), vec![(1.0, 1e5), (16.0, 1.4e6)]),
                ("theirs".into(), vec![(1.0, 9e4), (16.0, 7e5)]),
            ],
            bands: vec![(2.0, 3.0)],
        });
        let svg = plot.svg((560, 340)).unwrap();
        for expected in [
            "ours",
            "theirs",
            "one",
            "sixteen",
            "500k",
            "1M",
            "requests/s",
            "#0B62C4",
            "#D1480C",
            "#FFE7B3",
        ] {
            assert!(svg.contains(expected), "{expected} is missing in {svg}");
        }
        assert!(!svg.contains("NaN"), "{svg}");
        assert!(alone(&svg).contains("prefers-color-scheme"));
    }

    #[test]
    fn nothing_to_show_is_shown_without_failing() {
        let plot = |series| {
            Plot::Lines(Lines {
                x: axis(Scale::Linear, &[]),
                y: axis(Scale::Log, &[]),
                series,
                bands: Vec::new(),
            })
        };
        plot(Vec::new()).svg((300, 200)).unwrap();
        plot(vec![("x".into(), vec![(0.0, 0.0)])]).svg((300, 200)).unwrap();
        let bars = Bars {
            label: String::new(),
            parts: vec![String::new()],
            bars: vec![("x".into(), vec![0.0])],
            others: vec![0],
            mark: Some(1.0),
        };
        Plot::Bars(bars).svg((300, 200)).unwrap();
    }

    #[test]
    fn bars_are_as_long_as_their_parts() {
        let bars = Bars {
            label: "instructions".into(),
            parts: vec!["parse".into(), "table".into()],
            bars: vec![("get".into(), vec![100.0, 200.0]), ("set".into(), vec![300.0, 300.0])],
            others: Vec::new(),
            mark: Some(300.0),
        };
        let svg = Plot::Bars(bars).svg((664, 0)).unwrap();
        // 600 pixels for 600 instructions.
        for width in ["width=\"100\"", "width=\"200\"", "width=\"300\""] {
            assert!(svg.contains(width), "{width} in {svg}");
        }
        assert!(svg.contains("600") && svg.contains("parse"));
        assert!(
            svg.contains("<polyline") && svg.contains("300,"),
            "the mark is missing in {svg}"
        );
    }

    #[test]
    fn numbers_are_short() {
        let shown = [0.0, 0.25, 5.0, 20.0, 12.34, 300_000.0, 1_500_000.0, 100.0].map(short);
        assert_eq!(shown, ["0", "0.25", "5", "20", "12.3", "300k", "1.5M", "100"]);
    }
}
