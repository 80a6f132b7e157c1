//! The page: everything in one file, nothing from elsewhere, readable in light and dark and on a narrow screen.

use std::fmt::Write as _;
use std::io;

use super::figures::Figure;
use super::read::Results;
use super::{NARROW, WIDE, draw, plot};
use crate::compare::result::{Comparison, Table};
use crate::compare::table;
use crate::load::report::Row;
use crate::machine::Machine;

/// The page's style; that of the pictures follows it.
const STYLE: &str = include_str!("page.css");

/// What stands above figures of a quick run.
const QUICK: &str = "<p class=\"warning\">A quick run: the figures mean nothing.</p>";

/// The page with all tables and pictures.
///
/// # Errors
/// A picture cannot be drawn.
pub fn page(results: &Results, figures: &[Figure]) -> io::Result<String> {
    let mut sections = Vec::new();
    for comparison in &results.comparisons {
        let body = comparison_section(comparison, &pictures(figures, &comparison.suite)?);
        sections.push((comparison.suite.clone(), comparison.title.clone(), body));
    }
    for tables in &results.tables {
        let warning = if tables.quick { QUICK } else { "" };
        let mut body = format!("{warning}<p>{}</p>", code(&tables.about));
        for table in &tables.tables {
            if !table.title.is_empty() {
                let _ = write!(body, "<h3>{}</h3>", escape(&table.title));
            }
            body += &html_table(&table.rows);
        }
        sections.push((tables.name.clone(), tables.title.clone(), body));
    }
    for (file, report) in &results.loads {
        let server = report
            .server
            .version
            .iter()
            .map(|(name, value)| format!("{name} {value}"));
        let server: Vec<String> = server.collect();
        let body = format!(
            "<p>{}</p><p class=\"where\">{}</p>{}{}",
            escape(&server.join(", ")),
            escape(&report.machine.line()),
            pictures(figures, file)?,
            html_table(&load_rows(&report.rows))
        );
        sections.push((file.clone(), format!("Load: {file}"), body));
    }
    if let Some(instructions) = &results.instructions {
        let body = format!(
            "<p class=\"where\">{}</p>{}",
            escape(&instructions.machine.line()),
            pictures(figures, "instructions")?
        );
        sections.push(("instructions".into(), "Instructions of commands".into(), body));
    }
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<title>Slotcore: measured</title>\n\
         <link rel=\"icon\" href=\"data:,\">\n<style>\n{STYLE}{}</style>\n</head>\n<body>\n<header>\n<h1>Slotcore, measured</h1>\n",
        plot::STYLE
    );
    if let Some(machine) = first_machine(results) {
        let _ = writeln!(page, "<p class=\"where\">{}</p>", escape(&machine.line()));
    }
    page += "<nav>";
    for (id, title, _) in &sections {
        let _ = write!(page, "<a href=\"#{}\">{}</a> ", escape(id), escape(title));
    }
    page += "</nav>\n</header>\n<main>\n";
    for (id, title, body) in &sections {
        let (id, title) = (escape(id), escape(title));
        let _ = writeln!(page, "<section id=\"{id}\">\n<h2>{title}</h2>\n{body}\n</section>");
    }
    page += "</main>\n</body>\n</html>\n";
    Ok(page)
}

fn first_machine(results: &Results) -> Option<&Machine> {
    let compared = results.comparisons.first().map(|comparison| &comparison.machine);
    compared.or_else(|| results.loads.first().map(|load| &load.1.machine))
}

fn comparison_section(comparison: &Comparison, pictures: &str) -> String {
    let mut body = String::new();
    if comparison.quick {
        body += QUICK;
    }
    let rounds = match comparison.rounds {
        1 => "one round".to_owned(),
        rounds => format!("medians of {rounds} rounds"),
    };
    let _ = write!(
        body,
        "<p>{}</p><p class=\"where\"><code>slotcore-bench compare {}</code>, version {}; {rounds}; {}.</p>{pictures}",
        escape(&comparison.about),
        escape(&comparison.suite),
        comparison.version,
        escape(&comparison.placement),
    );
    for table in &comparison.tables {
        if !table.title.is_empty() {
            let _ = write!(body, "<h3>{}</h3>", escape(&table.title));
        }
        body += &comparison_table(table);
    }
    if !comparison.notes.is_empty() {
        let _ = write!(body, "<p class=\"where\">{}</p>", escape(&comparison.notes.join(" ")));
    }
    body
}

fn comparison_table(table: &Table) -> String {
    html_table(&table::rows(table))
}

fn load_rows(rows: &[Row]) -> Vec<Vec<String>> {
    let head = [
        "workload",
        "requests/s",
        "p50 us",
        "p99 us",
        "p99.9 us",
        "max us",
        "errors",
        "client busy %",
    ];
    let mut cells = vec![head.map(str::to_owned).to_vec()];
    for row in rows {
        let figures = [row.rate, row.p50_us, row.p99_us, row.p999_us, row.max_us];
        let mut line = vec![row.workload.clone()];
        line.extend(figures.map(|figure| format!("{figure:.0}")));
        line.extend([row.errors.to_string(), format!("{:.0}", row.client_busy_percent)]);
        cells.push(line);
    }
    cells
}

/// A table that scrolls by itself where it is wider than the screen. `**bold**` is as in Markdown.
fn html_table(rows: &[Vec<String>]) -> String {
    let mut html = String::from("<div class=\"scroll\" tabindex=\"0\"><table>");
    let mut group = "";
    for (at, row) in rows.iter().enumerate() {
        let tag = if at == 0 { "th" } else { "td" };
        // A line above each new workload.
        let class = if at > 1 && row.first().is_some_and(|first| first != group) {
            " class=\"first\""
        } else {
            ""
        };
        group = row.first().map_or("", String::as_str);
        let _ = write!(html, "<tr{class}>");
        for cell in row {
            let text = match cell.strip_prefix("**").and_then(|rest| rest.strip_suffix("**")) {
                Some(bold) => format!("<b>{}</b>", escape(bold)),
                None => escape(cell),
            };
            let _ = write!(html, "<{tag}>{text}</{tag}>");
        }
        html += "</tr>";
    }
    html + "</table></div>"
}

/// The pictures of a section, each drawn for a wide and for a narrow screen.
fn pictures(figures: &[Figure], of: &str) -> io::Result<String> {
    let mut html = String::from("<div class=\"pictures\">");
    for figure in figures.iter().filter(|figure| figure.of == of) {
        let caption = escape(&figure.caption);
        html += "<figure>";
        for (class, size) in [("wide", WIDE), ("narrow", NARROW)] {
            let svg = draw(figure, size)?;
            let named = format!("<svg class=\"{class}\" role=\"img\" aria-label=\"{caption}\" ");
            html += &svg.replacen("<svg ", &named, 1);
        }
        let _ = write!(html, "<figcaption>{caption}</figcaption></figure>");
    }
    Ok(html + "</div>")
}

/// A text in which what stands between backticks is code.
fn code(text: &str) -> String {
    let mut html = String::new();
    for (number, part) in text.split('`').enumerate() {
        let part = escape(part);
        html += &match number % 2 {
            0 => part,
            _ => format!("<code>{part}</code>"),
        };
    }
    html
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_escape_what_they_hold_and_part_workloads() {
        let cells = |row: &[&str]| row.iter().map(|&cell| cell.to_owned()).collect::<Vec<_>>();
        let rows = [cells(&["w", "s"]), cells(&["SET", "<a>"]), cells(&["GET", "**1.5**"])];
        let html = html_table(&rows);
        assert!(
            html.contains("<td>&lt;a&gt;</td>") && html.contains("<b>1.5</b>"),
            "{html}"
        );
        assert_eq!(html.matches("class=\"first\"").count(), 1);
    }
}
