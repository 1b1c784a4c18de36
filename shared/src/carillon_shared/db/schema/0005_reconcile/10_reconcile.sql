-- What mends dead letters.
SELECT;
