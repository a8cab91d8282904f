"""Operations: run records and what is reported from them, quality rules, status, verification."""
