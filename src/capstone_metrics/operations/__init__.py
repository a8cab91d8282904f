"""Operations: run records and what is reported from them, status, verification."""
