CREATE TABLE public.orders ();
