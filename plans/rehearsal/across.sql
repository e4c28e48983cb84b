-- What makes the order of databases matter: objects of one that need another, both ways.
SET NAMES utf8mb4;
CREATE OR REPLACE VIEW acme.reads_the_last AS SELECT z.customer, z.total FROM zeta.a_best AS z;
CREATE OR REPLACE VIEW zeta.reads_the_first AS SELECT COUNT(*) AS orders FROM acme.orders;
CREATE OR REPLACE VIEW Acme.chained AS SELECT * FROM acme.reads_the_last;
CREATE TABLE IF NOT EXISTS acme.belongs_to_zeta (
  id int PRIMARY KEY, customer int unsigned, FOREIGN KEY (customer) REFERENCES zeta.customers (id)
) ENGINE = InnoDB;
INSERT IGNORE INTO acme.belongs_to_zeta VALUES (1, 1), (2, NULL);
CREATE OR REPLACE PROCEDURE `ünïcode`.`größer`() SELECT COUNT(*) FROM `my-client`.orders;
