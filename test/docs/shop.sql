-- The small shop of the documentation's examples: even users cook, odd users garden.
CREATE SCHEMA shop;
CREATE TABLE shop.courses (course_id int PRIMARY KEY, title text, is_published boolean NOT NULL DEFAULT true);
CREATE TABLE shop.products (product_id int PRIMARY KEY, title text, price numeric);
CREATE TABLE shop.videos (video_id text PRIMARY KEY, title text);
INSERT INTO shop.courses SELECT n, (ARRAY['Cooking', 'Gardening'])[1 + n % 2] || ' course ' || n FROM generate_series(1, 10) n;
INSERT INTO shop.products SELECT n, (ARRAY['Kitchen', 'Garden'])[1 + n % 2] || ' product ' || n, 5 * n FROM generate_series(1, 10) n;
INSERT INTO shop.videos SELECT 'v' || n, (ARRAY['Cooking', 'Gardening'])[1 + n % 2] || ' video ' || n FROM generate_series(1, 10) n;
CREATE TABLE shop.enrolments (user_id int, course_id int, enrolled_at timestamptz);
CREATE TABLE shop.orders (user_id int, product_id int, amount numeric, ordered_at timestamptz);
CREATE TABLE shop.watches (user_id int, video_id text, seconds int, watched_at timestamptz);
INSERT INTO shop.enrolments SELECT u, c, timestamptz '2026-01-01 00:00+00' + u * interval '1 hour' + c * interval '1 day'
FROM generate_series(1, 40) u, generate_series(1, 10) c WHERE u % 2 = c % 2 AND (u * 7 + c * 3) % 5 < 3;
INSERT INTO shop.orders SELECT u, p, 5 * p, timestamptz '2026-02-01 00:00+00' + u * interval '1 hour' + p * interval '1 day'
FROM generate_series(1, 40) u, generate_series(1, 10) p WHERE u % 2 = p % 2 AND (u * 3 + p * 7) % 5 < 3;
INSERT INTO shop.watches SELECT u, 'v' || v, 60 * v, timestamptz '2026-03-01 00:00+00' + u * interval '1 hour' + v * interval '1 day'
FROM generate_series(1, 40) u, generate_series(1, 10) v WHERE u % 2 = v % 2 AND (u * 11 + v) % 5 < 3;
CREATE INDEX ON shop.enrolments (user_id, enrolled_at);
CREATE INDEX ON shop.orders (user_id, ordered_at);
CREATE INDEX ON shop.watches (user_id, watched_at);
CREATE TABLE shop.customers (user_id int PRIMARY KEY, city text, joined_on date, is_member boolean);
INSERT INTO shop.customers SELECT n, (ARRAY['Paris', '成都'])[1 + n % 2], date '2025-01-01' + n, n % 3 = 0 FROM generate_series(1, 40) n;
