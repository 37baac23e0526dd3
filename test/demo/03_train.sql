\echo 'One joint model over all five modules:'
SELECT model, users, items, interactions, iterations, round(loss::numeric) AS loss, round(read_seconds::numeric, 2) AS read_seconds, round(train_seconds::numeric, 2) AS train_seconds
FROM kpx_train(ARRAY['courses', 'products', 'videos', 'posts', 'jobs'], params => '{"factors": 32}');
