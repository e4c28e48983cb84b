-- Fills the current database. @rows says how much: about 1 kB a row over all tables.
SET NAMES utf8mb4;
SET SESSION sql_mode = 'NO_AUTO_VALUE_ON_ZERO', foreign_key_checks = 1;

CREATE TABLE customers (
  id int unsigned NOT NULL AUTO_INCREMENT PRIMARY KEY,
  name varchar(80) NOT NULL,
  email varchar(120) CHARACTER SET latin1 NOT NULL,
  born date NOT NULL DEFAULT '0000-00-00',
  details json,
  UNIQUE KEY (email),
  FULLTEXT KEY (name)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;
INSERT INTO customers (id, name, email, born, details)
  SELECT seq, CONCAT(ELT(1 + seq % 5, 'Zoë', 'Łukasz', '山田', 'Ⅷ', '😀 Smile'), ' ', seq), CONCAT('user', seq, '@example.com'),
         IF(seq % 7 = 0, '0000-00-00', '1970-01-01' + INTERVAL seq % 15000 DAY), JSON_OBJECT('seq', seq, 'quote', '"\\\n')
    FROM seq_0_to_100000000 WHERE seq <= @rows DIV 10;

CREATE TABLE orders (
  id bigint NOT NULL AUTO_INCREMENT PRIMARY KEY,
  customer int unsigned NOT NULL,
  `order` enum('new', 'paid', 'it''s gone') NOT NULL,
  net decimal(12, 2) NOT NULL,
  gross decimal(12, 2) GENERATED ALWAYS AS (net * 1.19) STORED,
  placed timestamp(6) NOT NULL DEFAULT current_timestamp(6),
  flags bit(9) NOT NULL DEFAULT b'101',
  KEY (placed)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;
-- InnoDB does not keep the names of foreign keys apart by case: the databases `acme` and `Acme` need two.
EXECUTE IMMEDIATE CONCAT('ALTER TABLE orders ADD CONSTRAINT `of_', MD5(BINARY DATABASE()),
  '` FOREIGN KEY (customer) REFERENCES customers (id) ON DELETE CASCADE');
INSERT INTO orders (customer, `order`, net, placed, flags)
  SELECT seq % (1 + @rows DIV 10), 1 + seq % 3, (seq * 37 % 100000) / 100, '2024-03-31 00:00:00' + INTERVAL seq MINUTE, seq % 512
    FROM seq_1_to_100000000 WHERE seq <= @rows;

CREATE TABLE payload (
  id int NOT NULL PRIMARY KEY,
  body longblob NOT NULL,
  digest char(40) CHARACTER SET ascii GENERATED ALWAYS AS (SHA1(body)) VIRTUAL
) ENGINE = InnoDB;
-- Random digits of base 4: gzip works hard on them, so that a dump takes its time without filling the disk.
EXECUTE IMMEDIATE CONCAT('INSERT INTO payload (id, body)
  SELECT seq, CONCAT(', REPEAT('CONV(HEX(RANDOM_BYTES(8)), 16, 4), ', 26), 'X''005C27220A0D1A'', REPEAT(CHAR(seq % 256), 100))
    FROM seq_1_to_100000000 WHERE seq <= @rows');

CREATE TABLE no_key (a int, b text) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;
INSERT INTO no_key SELECT seq % 5, IF(seq % 3, REPEAT('two equal rows ', seq % 9), NULL) FROM seq_1_to_200;
INSERT INTO no_key SELECT * FROM no_key;

CREATE TABLE nothing_in_it (id int PRIMARY KEY, at datetime) ENGINE = InnoDB;
CREATE TABLE `odd "name" of it's own, ünïcode` (`a b` int, `select` varchar(10)) ENGINE = MyISAM;
INSERT INTO `odd "name" of it's own, ünïcode` VALUES (1, NULL), (2, ''), (3, 'NULL');
CREATE TABLE parted (id int NOT NULL, year int NOT NULL, PRIMARY KEY (id, year)) ENGINE = InnoDB
  PARTITION BY RANGE (year) (PARTITION old VALUES LESS THAN (2000), PARTITION new VALUES LESS THAN MAXVALUE);
INSERT INTO parted SELECT seq, 1950 + seq % 100 FROM seq_1_to_500;
CREATE TABLE audit (id int NOT NULL AUTO_INCREMENT PRIMARY KEY, what text) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;

DELIMITER ;;
CREATE FUNCTION with_tax(net decimal(12, 2)) RETURNS decimal(12, 2) DETERMINISTIC
BEGIN
  -- a comment; with a semicolon
  RETURN net * 1.19;
END;;
SET SESSION sql_mode = '';;
CREATE PROCEDURE purge_audit(IN keep int)
BEGIN
  DELETE FROM audit WHERE id < (SELECT * FROM (SELECT MAX(id) - keep FROM audit) AS newest);
END;;
CREATE TRIGGER orders_written AFTER INSERT ON orders FOR EACH ROW
BEGIN
  INSERT INTO audit (what) VALUES (CONCAT('order ', NEW.id, " – ", NEW.net));
END;;
SET SESSION sql_mode = 'STRICT_ALL_TABLES,ANSI_QUOTES';;
CREATE TRIGGER orders_gone BEFORE DELETE ON orders FOR EACH ROW
  INSERT INTO audit (what) VALUES (CONCAT('gone ', OLD."id"));;
CREATE EVENT nightly ON SCHEDULE EVERY 1 DAY STARTS '2030-01-01 03:00:00' DO CALL purge_audit(1000);;
CREATE EVENT never ON SCHEDULE EVERY 1 HOUR DISABLE DO DELETE FROM audit;;
DELIMITER ;

-- A view that is named before the one it needs, and one that calls a function.
SET SESSION sql_mode = '';
CREATE VIEW z_paid AS SELECT id, customer, with_tax(net) AS gross FROM orders WHERE `order` = 'paid';
CREATE VIEW a_best AS SELECT customer, SUM(gross) AS total FROM z_paid GROUP BY customer;

-- Rows that only triggers write: a copy must have them once.
INSERT INTO orders (customer, `order`, net, placed) SELECT 0, 'new', seq, '2024-01-01' + INTERVAL seq SECOND FROM seq_1_to_20;

-- Otherwise the server knows how large these tables are only some time later, and the largest would not go first.
ANALYZE TABLE customers, orders, payload;
