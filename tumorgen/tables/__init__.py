"""CSV tables and back without loss: the manifest of samples and tumours, and the table of scans."""
