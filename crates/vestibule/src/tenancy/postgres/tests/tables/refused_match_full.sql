-- refused: says MATCH FULL over columns that may be empty
CREATE TABLE a (x int, y int, PRIMARY KEY (x, y));
CREATE TABLE b (x int, y int, FOREIGN KEY (x, y) REFERENCES a MATCH FULL);
