"""Reports: the receivables page and workbook, and the summary at the end of a run."""
