//! [`Table`]: columns for people.

/// Rows of texts below a head; all have as many columns.
#[derive(Debug)]
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// Without rows.
    pub fn new(head: &[&str]) -> Self {
        Self {
            rows: vec![head.iter().map(ToString::to_string).collect()],
        }
    }

    /// One more row.
    pub fn row(&mut self, cells: &[&dyn std::fmt::Display]) {
        assert_eq!(cells.len(), self.rows[0].len(), "each column has a head");
        self.rows.push(cells.iter().map(ToString::to_string).collect());
    }

    /// Columns as wide as their widest text, two spaces between them.
    pub fn text(&self) -> String {
        let columns = 0..self.rows[0].len();
        let width = |column: usize| self.rows.iter().map(|row| row[column].chars().count()).max();
        let widths: Vec<usize> = columns.map(|column| width(column).unwrap_or_default()).collect();
        let mut text = String::new();
        for row in &self.rows {
            let cells = row.iter().zip(&widths).map(|(cell, &width)| format!("{cell:width$}"));
            let line = cells.collect::<Vec<_>>().join("  ");
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

/// Numbers with commas between them; `-`: none.
pub fn listed<T: ToString>(numbers: &[T]) -> String {
    match numbers {
        [] => "-".to_owned(),
        numbers => numbers.iter().map(ToString::to_string).collect::<Vec<_>>().join(","),
    }
}

/// `-` in place of nothing.
pub fn or_dash<T: ToString>(value: Option<T>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_below_their_heads() {
        let mut table = Table::new(&["NODE", "HOST", "LEADS"]);
        table.row(&[&1, &"a-long-name", &listed(&[0, 2])]);
        table.row(&[&10, &"b", &listed::<u16>(&[])]);
        assert_eq!(
            table.text(),
            "NODE  HOST         LEADS\n1     a-long-name  0,2\n10    b            -\n"
        );
        assert_eq!(or_dash(Some(3)) + &or_dash::<u8>(None), "3-");
    }
}
