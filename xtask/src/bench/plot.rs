//! Plots as SVG, drawn by hand: bars, and points with intervals.

use std::fmt::Write as _;

use super::numbers::Interval;

const WIDTH: f64 = 760.0;
const LEFT: f64 = 230.0;
const RIGHT: f64 = 90.0;
const ROW: f64 = 24.0;
const TOP: f64 = 40.0;

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

fn begin(title: &str, rows: usize) -> String {
    let height = TOP + ROW * rows as f64 + 16.0;
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" font-size=\"13\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n<text x=\"10\" y=\"22\" font-weight=\"bold\">{}</text>\n",
        escaped(title)
    )
}

fn label(svg: &mut String, name: &str, y: f64) {
    let _ = writeln!(
        svg,
        "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
        LEFT - 8.0,
        y + 5.0,
        escaped(name)
    );
}

/// A bar for each value.
pub(crate) fn bars(title: &str, values: &[(String, f64)], logarithmic: bool) -> String {
    let mut svg = begin(title, values.len());
    let scale = |value: f64| {
        if logarithmic {
            (value / 10.0).max(1.0).log10()
        } else {
            value
        }
    };
    let most = values
        .iter()
        .map(|(_, value)| scale(*value))
        .fold(1e-9, f64::max);
    for (n, (name, value)) in values.iter().enumerate() {
        let y = TOP + ROW * (n as f64 + 0.5);
        let long = (WIDTH - LEFT - RIGHT) * scale(*value) / most;
        label(&mut svg, name, y);
        let _ = writeln!(
            svg,
            "<rect x=\"{LEFT}\" y=\"{:.1}\" width=\"{long:.1}\" height=\"14\" fill=\"#4878a8\"/>\n<text x=\"{:.1}\" y=\"{:.1}\">{value:.1}</text>",
            y - 7.0,
            LEFT + long + 6.0,
            y + 5.0
        );
    }
    svg + "</svg>\n"
}

/// A point with its interval for each ratio, and a line at 1.
pub(crate) fn intervals(title: &str, values: &[(String, Interval)]) -> String {
    let mut svg = begin(title, values.len());
    let low = values.iter().map(|(_, of)| of.low).fold(0.95, f64::min);
    let high = values.iter().map(|(_, of)| of.high).fold(1.05, f64::max);
    let x = |value: f64| LEFT + (WIDTH - LEFT - RIGHT) * (value - low) / (high - low);
    let bottom = TOP + ROW * values.len() as f64;
    let _ = writeln!(
        svg,
        "<line x1=\"{0:.1}\" y1=\"{TOP}\" x2=\"{0:.1}\" y2=\"{bottom}\" stroke=\"#999\"/>",
        x(1.0)
    );
    for (n, (name, of)) in values.iter().enumerate() {
        let y = TOP + ROW * (n as f64 + 0.5);
        label(&mut svg, name, y);
        let _ = writeln!(
            svg,
            "<line x1=\"{:.1}\" y1=\"{y:.1}\" x2=\"{:.1}\" y2=\"{y:.1}\" stroke=\"#4878a8\" stroke-width=\"3\"/>\n\
             <circle cx=\"{:.1}\" cy=\"{y:.1}\" r=\"4\" fill=\"#4878a8\"/>\n<text x=\"{:.1}\" y=\"{:.1}\">{:.3}</text>",
            x(of.low),
            x(of.high),
            x(of.mean),
            WIDTH - RIGHT + 10.0,
            y + 5.0,
            of.mean
        );
    }
    svg + "</svg>\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plots_are_whole_and_names_cannot_leave_them() {
        let of = Interval::of(&[1.0, 1.1]).unwrap();
        for svg in [
            bars("a < b", &[("<script>".into(), 5.0)], true),
            intervals("a", &[("&".into(), of)]),
        ] {
            assert!(svg.starts_with("<svg") && svg.ends_with("</svg>\n"));
            assert!(!svg.contains("<script>") && !svg.contains("NaN"), "{svg}");
        }
    }
}
