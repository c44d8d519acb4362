-- Every hundredth row of each table, beginning with another one in each round.
UPDATE measurement SET value = value + 1 WHERE id % 100 = {offset};
UPDATE purchase SET total = total + 1, paid_at = placed_at WHERE id % 100 = {offset};
UPDATE document SET body = md5(body) || body WHERE id % 100 = {offset};
