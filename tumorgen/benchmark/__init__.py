"""The robustness benchmark: what is dialled in a tumour and how far, its test sets, and mining the worst cases."""
